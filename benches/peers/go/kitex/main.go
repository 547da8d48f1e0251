// kitex, written as its documentation and its own benchmark are: Thrift, over netpoll at both ends.
//
// The code in gen is written by its tool, which must be on the path:
//
//	go install github.com/cloudwego/kitex/tool/cmd/kitex@v0.16.3
//	go generate
package main

//go:generate kitex -module peers -gen-path . -streamx bench.thrift

import (
	"net"
	"runtime"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"peers/harness"
	service "peers/kitex/gen/bench"
)

func main() {
	// The poller of netpoll sleeps in a system call, and keeps a processor of the runtime meanwhile
	// for up to 10 ms: with one alone, on one core, nothing else would run.
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))
	// It would tell of each connection that ends.
	klog.SetLevel(klog.LevelError)
	harness.Main(map[string]harness.Peer{
		"kitex": kitex{
			serving: []server.Option{server.WithMuxTransport()},
			calling: []client.Option{client.WithMuxConnection(1)},
		},
		"kitex-pool": kitex{
			calling: []client.Option{
				client.WithTransportProtocol(transport.Framed),
				client.WithLongConnection(idle),
			},
			streams: true,
		},
	})
}

// idle has room for a connection for each call in flight; by default, there is room for ten.
var idle = connpool.IdleConfig{
	MaxIdlePerAddress: 10_000,
	MaxIdleGlobal:     10_000,
	MaxIdleTimeout:    time.Minute,
}

// kitex is one of the ways in which it carries calls over connections.
type kitex struct {
	serving []server.Option
	calling []client.Option
	// A server that multiplexes takes no streams.
	streams bool
}

func (kitex kitex) Serve(listening func(string)) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	options := append(kitex.serving, server.WithListener(listener))
	server := service.NewServer(new(handlers), options...)
	listening(listener.Addr().String())
	return server.Run()
}

func (kitex kitex) Connect(address string) (harness.Client, error) {
	options := append(kitex.calling, client.WithHostPorts(address))
	client, err := service.NewClient("bench", options...)
	return kitexClient{client, samplePerson(), kitex.streams}, err
}
