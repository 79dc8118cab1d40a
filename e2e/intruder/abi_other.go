//go:build linux && !amd64

package main

// onABIs are none: there is one way to make a system call.
func onABIs() []attack { return nil }
