package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
)

// Load is what the runner asks of a client; see ../../harness/src/load.rs.
type Load struct {
	Operation   Operation `json:"operation"`
	Bytes       int       `json:"bytes"`
	Connections int       `json:"connections"`
	InFlight    int       `json:"in_flight"`
	Rate        *float64  `json:"rate"`
	OnePercent  *Work     `json:"one_percent"`
	WarmUp      int64     `json:"warm_up_ms"`
	Window      int64     `json:"window_ms"`
}

// Operation is a name, or an object with one: {"items":10000}.
type Operation struct {
	Name  string
	Work  Work
	Items uint32
}

// UnmarshalJSON reads what serde writes of an enum.
func (operation *Operation) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &operation.Name) == nil {
		return nil
	}
	var object struct {
		Work  *Work   `json:"work"`
		Items *uint32 `json:"items"`
	}
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	switch {
	case object.Work != nil:
		operation.Name, operation.Work = "work", *object.Work
	case object.Items != nil:
		operation.Name, operation.Items = "items", *object.Items
	default:
		return errors.New("an unknown operation")
	}
	return nil
}

// Outcome is what a client saw.
type Outcome struct {
	Calls   uint64  `json:"calls"`
	Failed  uint64  `json:"failed"`
	Failure *string `json:"failure"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	P999    float64 `json:"p999_us"`
	Max     float64 `json:"max_us"`
	Usage   Usage   `json:"usage"`
}

// run connects, warms up, waits for the word, and measures.
func (load Load) run(peer Peer, address string, waitForGo func() error) (*Outcome, error) {
	payload := bytes.Repeat([]byte("0123456789abcdef"), load.Bytes/16+1)[:load.Bytes]
	if load.Operation.Name == "nothing" {
		return load.idle(peer, address, payload, waitForGo)
	}
	var callers []caller
	for range load.Connections {
		client, err := peer.Connect(address)
		if err != nil {
			return nil, err
		}
		caller := caller{client, load, payload}
		if err := caller.check(); err != nil {
			return nil, err
		}
		callers = append(callers, caller)
	}
	if err := load.measure(callers, load.WarmUp).firstFailure(); err != nil {
		return nil, err
	}
	if err := waitForGo(); err != nil {
		return nil, err
	}
	before := usageNow()
	tally := load.measure(callers, load.Window)
	return tally.outcome(usageNow().since(before)), nil
}

func (load Load) measure(callers []caller, millis int64) *tally {
	window := time.Duration(millis) * time.Millisecond
	if load.Rate != nil {
		return openLoop(callers, *load.Rate, window)
	}
	return closedLoop(callers, load.InFlight, window)
}

// idle opens one connection, waits for the word, and opens the others; all stay open.
func (load Load) idle(peer Peer, address string, payload []byte, waitForGo func() error) (*Outcome, error) {
	open := func() error {
		client, err := peer.Connect(address)
		if err == nil {
			_, err = client.Echo(payload)
			kept = append(kept, client)
		}
		return err
	}
	if err := open(); err != nil {
		return nil, err
	}
	if err := waitForGo(); err != nil {
		return nil, err
	}
	before := usageNow()
	for range load.Connections {
		if err := open(); err != nil {
			return nil, err
		}
	}
	return &Outcome{Calls: uint64(load.Connections), Usage: usageNow().since(before)}, nil
}

// kept are clients that nothing else holds.
var kept []Client

// caller makes the calls of one connection.
type caller struct {
	client  Client
	load    Load
	payload []byte
}

// check sees that what comes back is what was sent; later only its length is looked at.
func (caller caller) check() error {
	reply, err := caller.client.Echo(caller.payload)
	if err == nil && !bytes.Equal(reply, caller.payload) {
		err = errors.New("what came back is not what was sent")
	}
	if err == nil {
		_, err = caller.call()
	}
	return err
}

// call makes one call, and tells how many it counts for.
func (caller caller) call() (uint64, error) {
	switch operation := caller.load.Operation; operation.Name {
	case "echo":
		reply, err := caller.client.Echo(caller.payload)
		return caller.one(reply, err)
	case "work":
		return caller.work(operation.Work)
	case "record":
		items, err := caller.client.Record()
		return 1, unless(items == 10, err)
	case "items":
		came, err := caller.client.Items(operation.Items, caller.payload)
		return uint64(came), unless(came == operation.Items, err)
	default:
		return 0, errors.New("an unknown operation: " + operation.Name)
	}
}

func (caller caller) work(work Work) (uint64, error) {
	reply, err := caller.client.Work(work, caller.payload)
	return caller.one(reply, err)
}

func (caller caller) one(reply []byte, err error) (uint64, error) {
	return 1, unless(len(reply) == len(caller.payload), err)
}

func unless(right bool, err error) error {
	if err == nil && !right {
		err = errors.New("the reply is too short or too long")
	}
	return err
}
