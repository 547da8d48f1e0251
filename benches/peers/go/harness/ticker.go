package harness

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ticker waits until a point in time, to the microsecond, as the timers of the runtime do not. A timer
// of the system wakes the goroutine through the poller of the runtime, as an answer does; see
// ../../harness/src/load/ticker.rs.
type ticker struct {
	timer *os.File
	fd    int
}

func newTicker() (*ticker, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &ticker{os.NewFile(uintptr(fd), "timer"), fd}, nil
}

func (ticker *ticker) close() {
	// Nothing is written to it that could be lost.
	_ = ticker.timer.Close()
}

// waitUntil returns at once if the time has come, and never before.
func (ticker *ticker) waitUntil(due time.Time) error {
	left := time.Until(due)
	if left <= 0 {
		return nil
	}
	once := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}
	if err := unix.TimerfdSettime(ticker.fd, 0, &once, nil); err != nil {
		return err
	}
	var expirations [8]byte
	_, err := ticker.timer.Read(expirations[:])
	return err
}
