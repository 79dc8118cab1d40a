package main

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"lap/sandbox"
)

// TestSample runs a sample of what "make chaos" runs, another one each time.
func TestSample(t *testing.T) {
	for _, name := range []string{sandbox.Docker, sandbox.Native} {
		t.Run(name, func(t *testing.T) {
			o := options{sandbox: name, rounds: 2, jobs: 3, repeat: 2, short: true, seed: uint64(time.Now().UnixNano())}
			err := run(t.Context(), o)
			if errors.Is(err, errNoEngine) && !required(name) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatalf("%v: run it again with \"go run ./chaos -sandbox %s -short -rounds %d -seed %d\"", err, name, o.rounds, o.seed)
			}
		})
	}
}

// required reports whether there must be sandboxes of a kind.
func required(name string) bool {
	return os.Getenv("LAP_TEST_REQUIRE_ALL") != "" && (name == sandbox.Docker || runtime.GOOS == "linux")
}
