//go:build chaos

package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// errOrdered is what a call fails with that was told to.
var errOrdered = errors.New("a fault that was ordered")

// A Directory has orders that come as files, for a build with the tag chaos. To its file
// points each point is written as it is passed, one a line; where one point has several
// names they are parted by a space, and a fault is noted after it, as "! kill". The file
// arm holds an order, "kill N" or "error N", for the N-th point that is passed from then
// on, or "kill N NAME" for the N-th of that name. An order is taken away when it is read;
// a later one takes the place of an earlier one, and "off" of any.
type Directory struct {
	arm string

	mu    sync.Mutex // guards what follows
	log   *os.File
	order *command // nil: none
}

type command struct {
	kind string // kill or error
	left int    // points to go
	name string // of those that count; empty: any
}

// Open returns the orders of a directory, which must exist, for this process.
func Open(dir string) (*Directory, error) {
	f, err := os.OpenFile(filepath.Join(dir, "points"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &Directory{arm: filepath.Join(dir, "arm"), log: f}, nil
}

// At notes that a point is passed, and carries out the order for it.
func (d *Directory) At(_ context.Context, names ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.read(); err != nil {
		return err
	}
	line := strings.Join(names, " ")
	kind := d.due(names)
	if kind != "" {
		line += " ! " + kind
	}
	if _, err := fmt.Fprintln(d.log, line); err != nil {
		return err
	}
	switch kind {
	case "kill":
		err := syscall.Kill(os.Getpid(), syscall.SIGKILL)
		<-make(chan struct{}) // nothing more happens in this process
		return err
	case "error":
		return fmt.Errorf("%w at %s", errOrdered, line)
	}
	return nil
}

// due counts a point and returns what is to happen at it.
func (d *Directory) due(names []string) string {
	if d.order == nil || d.order.name != "" && !slices.Contains(names, d.order.name) {
		return ""
	}
	if d.order.left--; d.order.left > 0 {
		return ""
	}
	kind := d.order.kind
	d.order = nil
	return kind
}

// read takes an order that has come.
func (d *Directory) read() error {
	text, err := os.ReadFile(d.arm)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := os.Remove(d.arm); err != nil {
		return err
	}
	words := strings.Fields(string(text))
	if len(words) == 1 && words[0] == "off" {
		d.order = nil
		return nil
	}
	if len(words) < 2 || len(words) > 3 || words[0] != "kill" && words[0] != "error" {
		return fmt.Errorf("%s: %q is no order", d.arm, text)
	}
	n, err := strconv.Atoi(words[1])
	if err != nil {
		return fmt.Errorf("%s: %w", d.arm, err)
	}
	d.order = &command{kind: words[0], left: n, name: strings.Join(words[2:], "")}
	return nil
}
