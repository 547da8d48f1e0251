package harness

import (
	"sync"
	"sync/atomic"
	"time"
)

// Reading the clock twice a call costs; see ../../harness/src/load/closed.rs.
const timedOneIn = 16

// closedLoop has callers that make one call after the other.
func closedLoop(callers []caller, inFlight int, window time.Duration) *tally {
	every := timedOneIn
	if len(callers)*inFlight == 1 {
		every = 1
	}
	var over atomic.Bool
	var tasks sync.WaitGroup
	tallies := make([]tally, len(callers)*inFlight)
	begin := time.Now()
	for index := range tallies {
		tasks.Add(1)
		go func() {
			defer tasks.Done()
			oneAfterAnother(callers[index/inFlight], &over, every, &tallies[index])
		}()
	}
	time.Sleep(window)
	seconds := time.Since(begin).Seconds()
	over.Store(true)
	tasks.Wait()
	all := tally{seconds: seconds}
	for index := range tallies {
		all.add(&tallies[index])
	}
	return &all
}

func oneAfterAnother(caller caller, over *atomic.Bool, every int, shared *tally) {
	var tally tally
	for number := 0; ; number++ {
		timed := number%every == 0
		var begin time.Time
		if timed {
			begin = time.Now()
		}
		count, err := caller.call()
		// What ends after the window does not count: the slow would profit.
		if over.Load() {
			break
		}
		if err != nil {
			tally.noteFailure(err)
			break
		}
		tally.calls += count
		if timed {
			tally.noteLatency(time.Since(begin))
		}
	}
	*shared = tally
}
