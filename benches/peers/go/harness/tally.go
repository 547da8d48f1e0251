package harness

import (
	"errors"
	"math"
	"slices"
	"time"
)

// tally is what callers count.
type tally struct {
	calls, failed uint64
	failure       *string
	seconds       float64
	// All of them: exact quantiles need no buckets.
	latencies []time.Duration
}

func (tally *tally) noteLatency(latency time.Duration) {
	tally.latencies = append(tally.latencies, latency)
}

func (tally *tally) noteFailure(err error) {
	tally.failed++
	if tally.failure == nil {
		text := err.Error()
		tally.failure = &text
	}
}

func (tally *tally) add(other *tally) {
	tally.calls += other.calls
	tally.failed += other.failed
	if tally.failure == nil {
		tally.failure = other.failure
	}
	tally.latencies = append(tally.latencies, other.latencies...)
}

func (tally *tally) firstFailure() error {
	if tally.failure == nil {
		return nil
	}
	return errors.New(*tally.failure)
}

func (tally *tally) outcome(usage Usage) *Outcome {
	slices.Sort(tally.latencies)
	at := func(quantile float64) float64 {
		if len(tally.latencies) == 0 {
			return 0
		}
		rank := int(math.Ceil(quantile * float64(len(tally.latencies))))
		return float64(tally.latencies[max(rank, 1)-1].Nanoseconds()) / 1e3
	}
	return &Outcome{
		Calls:   tally.calls,
		Failed:  tally.failed,
		Failure: tally.failure,
		Seconds: tally.seconds,
		P50:     at(0.5),
		P99:     at(0.99),
		P999:    at(0.999),
		Max:     at(1),
		Usage:   usage,
	}
}
