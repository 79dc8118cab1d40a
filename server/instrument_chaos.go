//go:build chaos

package server

import (
	"os"

	"lap/sandbox"
	"lap/server/fault"
)

// instrument puts points around every commit and every call of the runtime, at which the
// directory that LAP_CHAOS names can order a fault. Without it there are none.
func instrument() (instruments, error) {
	dir := os.Getenv("LAP_CHAOS")
	if dir == "" {
		return instruments{}, nil
	}
	points, err := fault.Open(dir)
	if err != nil {
		return instruments{}, err
	}
	return instruments{
		commits: fault.NewCommits(points),
		runtime: func(r sandbox.Runtime) sandbox.Runtime { return fault.NewRuntime(r, points) },
	}, nil
}
