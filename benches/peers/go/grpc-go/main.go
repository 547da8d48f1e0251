// gRPC, written as its quick start and examples are; beyond the defaults, windows of 4 MiB, room for
// 10,000 streams, and workers instead of a goroutine for each call.
package main

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"peers/bench"
	"peers/harness"
)

func main() {
	harness.Main(map[string]harness.Peer{"grpc-go": grpcGo{}})
}

const (
	windowBytes = 4 << 20
	streamsMax  = 10_000
)

type grpcGo struct{}

func (grpcGo) Serve(listening func(string)) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(windowBytes),
		grpc.MaxConcurrentStreams(streamsMax),
		grpc.NumStreamWorkers(uint32(runtime.GOMAXPROCS(0))),
	)
	bench.RegisterBenchServer(server, grpcHandlers{})
	listening(listener.Addr().String())
	return server.Serve(listener)
}

func (grpcGo) Connect(address string) (harness.Client, error) {
	connection, err := grpc.NewClient(
		"passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(windowBytes),
		grpc.WithInitialConnWindowSize(windowBytes),
	)
	if err != nil {
		return nil, err
	}
	return grpcClient{bench.NewBenchClient(connection), bench.SamplePerson()}, nil
}

type grpcHandlers struct {
	bench.UnimplementedBenchServer
}

func (grpcHandlers) Echo(_ context.Context, payload *bench.Payload) (*bench.Payload, error) {
	return payload, nil
}

func (grpcHandlers) Record(_ context.Context, person *bench.Person) (*bench.Person, error) {
	return person, nil
}

func (grpcHandlers) Work(_ context.Context, task *bench.Task) (*bench.Payload, error) {
	harness.Work{Which: task.Which, Micros: task.Micros}.Do()
	return &bench.Payload{Payload: task.Payload}, nil
}

func (grpcHandlers) Items(wanted *bench.Wanted, stream grpc.ServerStreamingServer[bench.Payload]) error {
	item := &bench.Payload{Payload: wanted.Payload}
	for range wanted.Count {
		if err := stream.Send(item); err != nil {
			return err
		}
	}
	return nil
}

type grpcClient struct {
	client bench.BenchClient
	person *bench.Person
}

func (client grpcClient) Echo(payload []byte) ([]byte, error) {
	reply, err := client.client.Echo(context.Background(), &bench.Payload{Payload: payload})
	return reply.GetPayload(), err
}

func (client grpcClient) Record() (int, error) {
	reply, err := client.client.Record(context.Background(), client.person)
	return len(reply.GetItems()), err
}

func (client grpcClient) Work(work harness.Work, payload []byte) ([]byte, error) {
	task := &bench.Task{Which: work.Which, Micros: work.Micros, Payload: payload}
	reply, err := client.client.Work(context.Background(), task)
	return reply.GetPayload(), err
}

func (client grpcClient) Items(count uint32, payload []byte) (uint32, error) {
	wanted := &bench.Wanted{Count: count, Payload: payload}
	items, err := client.client.Items(context.Background(), wanted)
	if err != nil {
		return 0, err
	}
	came := uint32(0)
	for {
		_, err := items.Recv()
		if errors.Is(err, io.EOF) {
			return came, nil
		}
		if err != nil {
			return came, err
		}
		came++
	}
}
