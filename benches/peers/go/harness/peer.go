// Package harness is what the peers in Go have in common, as ../../harness is for those in Rust:
// the loads, and what a peer says and is told, which is in ../../harness/src/process.rs.
package harness

import (
	"fmt"
	"os"
)

// Peer is one RPC framework.
type Peer interface {
	// Serve listens on a free port of the loopback interface, says which, and serves for ever.
	Serve(listening func(address string)) error
	// Connect opens one connection.
	Connect(address string) (Client, error)
}

// Client is one connection; any number of goroutines share it.
type Client interface {
	// Echo gives the payload back.
	Echo(payload []byte) ([]byte, error)
	// Record sends the structured message there and back, and tells how many items came.
	Record() (int, error)
	// Work is Echo after the server did the work.
	Work(work Work, payload []byte) ([]byte, error)
	// Items takes a stream of count times the payload, and tells how many came.
	Items(count uint32, payload []byte) (uint32, error)
}

// Main is the program of one or more peers: `PEER serve`, and `PEER load ADDRESS LOAD`.
func Main(peers map[string]Peer) {
	if err := run(peers, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(peers map[string]Peer, arguments []string) error {
	if len(arguments) >= 2 {
		peer, known := peers[arguments[0]]
		switch {
		case known && len(arguments) == 2 && arguments[1] == "serve":
			return serve(peer)
		case known && len(arguments) == 4 && arguments[1] == "load":
			return putLoadOn(peer, arguments[2], arguments[3])
		}
	}
	return fmt.Errorf("either `PEER serve`, or `PEER load ADDRESS LOAD`")
}
