//go:build linux

package cell

// Filter is for tests.
var Filter = systemCalls
