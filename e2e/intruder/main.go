//go:build linux

// Command intruder attacks the sandbox that it runs in, as root with all that an agent may
// do, for the end-to-end tests. It prints a line for every attack: "held" and its name, or
// "broken", its name, and what it got.
package main

import (
	"fmt"
	"os"
	"time"
)

// An attack returns an error that says what it got; nil: nothing.
type attack struct {
	name string
	try  func() error
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: intruder <group> [arguments]")
		os.Exit(2)
	}
	args := os.Args[2:]
	time.AfterFunc(time.Minute, func() { fmt.Println("broken: it takes more than a minute"); os.Exit(1) })
	groups := map[string]func([]string) []attack{
		"packets": packets, "addresses": addresses, "guest": guest, "pipe": pipes, "secrets": secrets, "flood": flood, "http": https, "escape": escape,
	}
	if os.Args[1] == "hold" {
		hold(args[0])
		return
	}
	if os.Args[1] == "fill" {
		fill(args[0])
		return
	}
	group, ok := groups[os.Args[1]]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such group")
		os.Exit(2)
	}
	for _, a := range group(args) {
		if err := a.try(); err != nil {
			fmt.Printf("broken %s: %.300q\n", a.name, err.Error())
		} else {
			fmt.Printf("held %s\n", a.name)
		}
	}
}

// wait is how long an attack waits for an answer that must not come.
const wait = 300 * time.Millisecond

// must turns an attempt that has to fail into the result of an attack.
func must(err error, what string) error {
	if err == nil {
		return fmt.Errorf("%s succeeded", what)
	}
	return nil
}
