//go:build chaos

// Package fault makes lap fail where it is told to: at a point before or after a commit
// or a call of the runtime. It is compiled in only with the build tag chaos.
package fault

import (
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

// Points are the places at which faults can be ordered, through a directory. To its file
// points each point is written as it is passed, one a line; where one point has several
// names they are parted by a space, and a fault is noted after it, as "! kill". The file
// arm holds an order, "kill N" or "error N", for the N-th point that is passed from then
// on, or "kill N NAME" for the N-th of that name. An order is taken away when it is read;
// a later one takes the place of an earlier one, and "off" of any.
type Points struct {
	arm string

	mu    sync.Mutex // guards what follows
	log   *os.File
	order *order // nil: none
}

type order struct {
	kind string // kill or error
	left int    // points to go
	name string // of those that count; empty: any
}

// Open returns the points of this process. The directory must exist.
func Open(dir string) (*Points, error) {
	f, err := os.OpenFile(filepath.Join(dir, "points"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &Points{arm: filepath.Join(dir, "arm"), log: f}, nil
}

// pass notes that a point is passed, and carries out the order for it. An error is that
// of the call that the point belongs to.
func (p *Points) pass(names ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.read(); err != nil {
		return err
	}
	line := strings.Join(names, " ")
	kind := p.due(names)
	if kind != "" {
		line += " ! " + kind
	}
	if _, err := fmt.Fprintln(p.log, line); err != nil {
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
func (p *Points) due(names []string) string {
	if p.order == nil || p.order.name != "" && !slices.Contains(names, p.order.name) {
		return ""
	}
	if p.order.left--; p.order.left > 0 {
		return ""
	}
	kind := p.order.kind
	p.order = nil
	return kind
}

// read takes an order that has come.
func (p *Points) read() error {
	text, err := os.ReadFile(p.arm)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := os.Remove(p.arm); err != nil {
		return err
	}
	words := strings.Fields(string(text))
	if len(words) == 1 && words[0] == "off" {
		p.order = nil
		return nil
	}
	if len(words) < 2 || len(words) > 3 || words[0] != "kill" && words[0] != "error" {
		return fmt.Errorf("%s: %q is no order", p.arm, text)
	}
	n, err := strconv.Atoi(words[1])
	if err != nil {
		return fmt.Errorf("%s: %w", p.arm, err)
	}
	p.order = &order{kind: words[0], left: n, name: strings.Join(words[2:], "")}
	return nil
}
