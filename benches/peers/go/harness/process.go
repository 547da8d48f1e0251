package harness

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// say prints a line for the runner.
func say(line string) {
	fmt.Println(line)
}

func sayJSON(value any) error {
	line, err := json.Marshal(value)
	if err == nil {
		say(string(line))
	}
	return err
}

func serve(peer Peer) error {
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if lines.Text() == "usage" {
				// Numbers can always be encoded.
				_ = sayJSON(usageNow())
			}
		}
		// The runner is gone, or wants no more.
		os.Exit(0)
	}()
	return peer.Serve(func(address string) { say("listening " + address) })
}

func putLoadOn(peer Peer, address, text string) error {
	var load Load
	if err := json.Unmarshal([]byte(text), &load); err != nil {
		return err
	}
	input := bufio.NewReader(os.Stdin)
	waitForGo := func() error {
		say("ready")
		line, err := input.ReadString('\n')
		if err == nil && strings.TrimSpace(line) != "go" {
			err = errors.New("not `go`: " + line)
		}
		return err
	}
	outcome, err := load.run(peer, address, waitForGo)
	if err != nil {
		return err
	}
	if err := sayJSON(outcome); err != nil {
		return err
	}
	// What is connected stays so until the runner has looked at the server.
	_, err = io.Copy(io.Discard, input)
	return err
}
