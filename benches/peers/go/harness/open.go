package harness

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// Calls under way; more wait, and their latency grows all the same.
	underWayMax = 5000
	// For those under way at the end; what takes longer has failed.
	patience = 5 * time.Second
	// Of prctl: how late a sleep may end, in nanoseconds.
	setTimerSlack = 29
)

// openLoop begins calls when their time has come, whether those before them have ended or not; see
// ../../harness/src/load/open.rs.
func openLoop(callers []caller, rate float64, window time.Duration) *tally {
	// The timers of the runtime are exact to a millisecond, those of the system to microseconds.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// If it is refused, sleeps end 50 µs late.
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1, 0)

	random := rand.New(rand.NewPCG(0x5eed, 0))
	all := tally{seconds: window.Seconds()}
	var lock sync.Mutex
	var tasks sync.WaitGroup
	underWay := make(chan struct{}, underWayMax)
	begin := time.Now()
	due := time.Duration(0)
	for number := uint64(0); ; number++ {
		// The gaps of a Poisson process.
		due += time.Duration(-math.Log(1-random.Float64()) / rate * 1e9)
		if due >= window {
			break
		}
		if left := due - time.Since(begin); left > 0 {
			pause := syscall.NsecToTimespec(int64(left))
			// A signal may end it early, which is early by microseconds.
			_ = syscall.Nanosleep(&pause, nil)
		}
		underWay <- struct{}{}
		tasks.Add(1)
		go func() {
			defer tasks.Done()
			oneCall(callers[number%uint64(len(callers))], number, begin.Add(due), &all, &lock)
			<-underWay
		}()
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
