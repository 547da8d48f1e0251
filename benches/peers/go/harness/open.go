package harness

import (
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// Calls under way; more wait, and their latency grows all the same.
	underWayMax = 5000
	// For those under way at the end; what takes longer has failed.
	patience = 5 * time.Second
)

// openLoop begins calls when their time has come, whether those before them have ended or not; see
// ../../harness/src/load/open.rs.
func openLoop(callers []caller, rate float64, window time.Duration) *tally {
	random := rand.New(rand.NewPCG(0x5eed, 0))
	all := tally{seconds: window.Seconds()}
	var lock sync.Mutex
	var tasks sync.WaitGroup
	underWay := make(chan struct{}, underWayMax)
	ticker, err := newTicker()
	if err != nil {
		all.noteFailure(err)
		return &all
	}
	defer ticker.close()
	due := time.Now()
	end := due.Add(window)
	for number := uint64(0); ; number++ {
		// The gaps of a Poisson process.
		due = due.Add(time.Duration(-math.Log(1-random.Float64()) / rate * 1e9))
		if !due.Before(end) {
			break
		}
		if err := ticker.waitUntil(due); err != nil {
			lock.Lock()
			all.noteFailure(err)
			lock.Unlock()
			break
		}
		underWay <- struct{}{}
		tasks.Add(1)
		// Its own due time: `due` may be the next call's before the goroutine runs.
		go func(due time.Time) {
			defer tasks.Done()
			oneCall(callers[number%uint64(len(callers))], number, due, &all, &lock)
			<-underWay
		}(due)
	}
	ended := make(chan struct{})
	go func() {
		tasks.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		lock.Lock()
		defer lock.Unlock()
		all.noteFailure(errors.New("no answer"))
	}
	return &all
}

func oneCall(caller caller, number uint64, due time.Time, all *tally, lock *sync.Mutex) {
	odd := caller.load.OnePercent != nil && number%100 == 99
	var count uint64
	var err error
	if odd {
		count, err = caller.work(*caller.load.OnePercent)
	} else {
		count, err = caller.call()
	}
	latency := time.Since(due)
	lock.Lock()
	defer lock.Unlock()
	if err != nil {
		all.noteFailure(err)
		return
	}
	all.calls += count
	if !odd {
		all.noteLatency(latency)
	}
}
