package main

import (
	"context"
	"os"
	"testing"
	"time"

	dockerclient "github.com/docker/docker/client"
)

// TestSample runs a sample of what "make chaos" runs, another one each time.
func TestSample(t *testing.T) {
	needEngine(t)
	o := options{rounds: 3, jobs: 3, repeat: 2, short: true, seed: uint64(time.Now().UnixNano())}
	if err := run(t.Context(), o); err != nil {
		t.Fatalf("%v: run it again with \"go run ./chaos -short -rounds %d -seed %d\"", err, o.rounds, o.seed)
	}
}

// needEngine skips the test when no Docker engine answers. With LAP_TEST_REQUIRE_ALL set
// that is a failure.
func needEngine(t *testing.T) {
	t.Helper()
	docker, err := dockerclient.NewClientWithOpts(dockerclient.FromEnv, dockerclient.WithAPIVersionNegotiation())
	if err == nil {
		defer docker.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = docker.Ping(ctx)
	}
	if err == nil {
		return
	}
	if os.Getenv("LAP_TEST_REQUIRE_ALL") != "" {
		t.Fatalf("no Docker engine answers: %v", err)
	}
	t.Skipf("needs a Docker engine, and none answers: %v", err)
}
