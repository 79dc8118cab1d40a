//go:build !chaos

package server

import "lap/server/fault"

// ordered returns no orders; with the build tag chaos it does.
func ordered() (fault.All, error) { return nil, nil }
