//go:build chaos

package server

import (
	"os"

	"lap/server/fault"
)

// ordered are the orders of the directory that LAP_CHAOS names; none without it.
func ordered() (fault.All, error) {
	dir := os.Getenv("LAP_CHAOS")
	if dir == "" {
		return nil, nil
	}
	orders, err := fault.Open(dir)
	if err != nil {
		return nil, err
	}
	return fault.All{orders}, nil
}
