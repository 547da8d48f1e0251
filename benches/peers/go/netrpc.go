package main

import (
	"errors"
	"net"
	"net/rpc"
)

// netRPC is the standard library's, written as its documentation is: gob over TCP.
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

func (netRPC) Connect(address string) (Client, error) {
	client, err := rpc.Dial("tcp", address)
	return gobClient{client, sampleGob()}, err
}

// Payload is what comes back as it is.
type Payload struct {
	Payload []byte
}

// Task is Payload after some work.
type Task struct {
	Work    Work
	Payload []byte
}

// Person is the structured message.
type Person struct {
	ID      uint64
	Name    string
	Email   string
	Age     uint32
	Score   float64
	Active  bool
	Created int64
	Note    string
	Address Address
	Items   []Item
}

// Address is a part of Person.
type Address struct {
	Street, City string
	Zip          uint32
}

// Item is a part of Person.
type Item struct {
	SKU      uint32
	Label    string
	Quantity uint32
	Price    float64
}

func sampleGob() *Person {
	from := samplePerson()
	person := &Person{
		from.Id, from.Name, from.Email, from.Age, from.Score, from.Active, from.Created, from.Note,
		Address{from.Address.Street, from.Address.City, from.Address.Zip}, nil,
	}
	for _, item := range from.Items {
		person.Items = append(person.Items, Item{item.Sku, item.Label, item.Quantity, item.Price})
	}
	return person
}

type gobHandlers struct{}

func (*gobHandlers) Echo(payload *Payload, reply *Payload) error {
	reply.Payload = payload.Payload
	return nil
}

func (*gobHandlers) Record(person *Person, reply *Person) error {
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
	person *Person
}

func (client gobClient) Echo(payload []byte) ([]byte, error) {
	var reply Payload
	err := client.client.Call("Bench.Echo", &Payload{payload}, &reply)
	return reply.Payload, err
}

func (client gobClient) Record() (int, error) {
	var reply Person
	err := client.client.Call("Bench.Record", client.person, &reply)
	return len(reply.Items), err
}

func (client gobClient) Work(work Work, payload []byte) ([]byte, error) {
	var reply Payload
	err := client.client.Call("Bench.Work", &Task{work, payload}, &reply)
	return reply.Payload, err
}

func (gobClient) Items(uint32, []byte) (uint32, error) {
	return 0, errors.New("streams: not available")
}
