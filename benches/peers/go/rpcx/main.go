// rpcx, written as its README and documentation are: an XClient, which keeps one connection to each
// server; beyond the defaults, handlers that are found without reflection, raw bytes where bytes are
// the message, and protobuf where it has a structure.
package main

import (
	"context"
	"errors"
	"net"

	"github.com/smallnest/rpcx/client"
	"github.com/smallnest/rpcx/protocol"
	"github.com/smallnest/rpcx/server"

	"peers/bench"
	"peers/harness"
)

func main() {
	harness.Main(map[string]harness.Peer{"rpcx": rpcx{}})
}

const service = "Bench"

type rpcx struct{}

func (rpcx) Serve(listening func(string)) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := server.NewServer()
	server.AddHandler(service, "Echo", echo)
	server.AddHandler(service, "Record", record)
	server.AddHandler(service, "Work", work)
	listening(listener.Addr().String())
	return server.ServeListener("tcp", listener)
}

func (rpcx) Connect(address string) (harness.Client, error) {
	discovery, err := client.NewPeer2PeerDiscovery("tcp@"+address, "")
	if err != nil {
		return nil, err
	}
	with := func(codec protocol.SerializeType) client.XClient {
		option := client.DefaultOption
		option.SerializeType = codec
		return client.NewXClient(service, client.Failtry, client.RandomSelect, discovery, option)
	}
	bytes, messages := with(protocol.SerializeNone), with(protocol.ProtoBuffer)
	return rpcxClient{bytes, messages, bench.SamplePerson()}, nil
}

func echo(call *server.Context) error {
	return call.Write(call.Payload())
}

func record(call *server.Context) error {
	var person bench.Person
	if err := call.Bind(&person); err != nil {
		return err
	}
	return call.Write(&person)
}

func work(call *server.Context) error {
	var task bench.Task
	if err := call.Bind(&task); err != nil {
		return err
	}
	harness.Work{Which: task.Which, Micros: task.Micros}.Do()
	return call.Write(&bench.Payload{Payload: task.Payload})
}

// rpcxClient has a client for each codec, as the codec is an option of the client; either opens its
// connection with its first call.
type rpcxClient struct {
	bytes, messages client.XClient
	person          *bench.Person
}

func (client rpcxClient) Echo(payload []byte) ([]byte, error) {
	var reply []byte
	err := client.bytes.Call(context.Background(), "Echo", payload, &reply)
	return reply, err
}

func (client rpcxClient) Record() (int, error) {
	var reply bench.Person
	err := client.messages.Call(context.Background(), "Record", client.person, &reply)
	return len(reply.Items), err
}

func (client rpcxClient) Work(work harness.Work, payload []byte) ([]byte, error) {
	var reply bench.Payload
	task := &bench.Task{Which: work.Which, Micros: work.Micros, Payload: payload}
	err := client.messages.Call(context.Background(), "Work", task, &reply)
	return reply.Payload, err
}

func (rpcxClient) Items(uint32, []byte) (uint32, error) {
	return 0, errors.New("streams: not available")
}
