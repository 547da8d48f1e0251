package harness

import (
	"encoding/json"
	"errors"
	"runtime"
	"time"
)

// Work is what a handler does before it answers: which, and for how long.
type Work struct {
	Which, Micros uint32
}

const (
	workYield = iota
	workSleep
	workSpin
)

// UnmarshalJSON reads "yield", {"sleep":1000} or {"spin":1000}.
func (work *Work) UnmarshalJSON(text []byte) error {
	var name string
	if json.Unmarshal(text, &name) == nil {
		work.Which = workYield
		return nil
	}
	var object struct {
		Sleep *uint32 `json:"sleep"`
		Spin  *uint32 `json:"spin"`
	}
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	switch {
	case object.Sleep != nil:
		*work = Work{workSleep, *object.Sleep}
	case object.Spin != nil:
		*work = Work{workSpin, *object.Spin}
	default:
		return errors.New("unknown work")
	}
	return nil
}

// Do does it, in a handler.
func (work Work) Do() {
	span := time.Duration(work.Micros) * time.Microsecond
	switch work.Which {
	case workSleep:
		time.Sleep(span)
	case workSpin:
		for end := time.Now().Add(span); time.Now().Before(end); {
		}
	default:
		runtime.Gosched()
	}
}
