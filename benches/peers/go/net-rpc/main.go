// Go's standard library, written as its documentation is: gob over TCP.
package main

import (
	"errors"
	"net"
	"net/rpc"

	"peers/harness"
)

func main() {
	harness.Main(map[string]harness.Peer{"net-rpc": netRPC{}})
}

type netRPC struct{}

func (netRPC) Serve(listening func(string)) error {
	server := rpc.NewServer()
	if err := server.RegisterName("Bench", new(gobHandlers)); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	listening(listener.Addr().String())
	server.Accept(listener)
	return errors.New("it accepts no more")
}

func (netRPC) Connect(address string) (harness.Client, error) {
	client, err := rpc.Dial("tcp", address)
	return gobClient{client, harness.SamplePerson()}, err
}

// Payload is what comes back as it is.
type Payload struct {
	Payload []byte
}

// Task is Payload after some work.
type Task struct {
	Work    harness.Work
	Payload []byte
}

type gobHandlers struct{}

func (*gobHandlers) Echo(payload *Payload, reply *Payload) error {
	reply.Payload = payload.Payload
	return nil
}

func (*gobHandlers) Record(person *harness.Person, reply *harness.Person) error {
	*reply = *person
	return nil
}

func (*gobHandlers) Work(task *Task, reply *Payload) error {
	task.Work.Do()
	reply.Payload = task.Payload
	return nil
}

type gobClient struct {
	client *rpc.Client
	person *harness.Person
}

func (client gobClient) Echo(payload []byte) ([]byte, error) {
	var reply Payload
	err := client.client.Call("Bench.Echo", &Payload{payload}, &reply)
	return reply.Payload, err
}

func (client gobClient) Record() (int, error) {
	var reply harness.Person
	err := client.client.Call("Bench.Record", client.person, &reply)
	return len(reply.Items), err
}

func (client gobClient) Work(work harness.Work, payload []byte) ([]byte, error) {
	var reply Payload
	err := client.client.Call("Bench.Work", &Task{work, payload}, &reply)
	return reply.Payload, err
}

func (gobClient) Items(uint32, []byte) (uint32, error) {
	return 0, errors.New("streams: not available")
}
