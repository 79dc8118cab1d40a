package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

var (
	errNoTool  = errors.New("the sandbox does not run the command")
	errNotWarm = errors.New("no sandbox is warm")
)

// A cell is one run of an operation with one fault, or with none.
type cell struct {
	operation string
	point     string // with #n; "": no fault
	fault     string // kill or error
	reached   bool   // the fault was carried out
	got       string // what the client was told, and what it was told the second time
	after     string // the state in which all came to rest
	wrong     []string
	points    []string // that were passed, when there was no fault
	args      string   // of a command that runs it again
}

// linger is how long after an operation its last points may be passed.
const linger = 1500 * time.Millisecond

// play runs one cell. The error says that it could not be run at all.
func play(ctx context.Context, w *world, op operation, point, fault string) (c cell, err error) {
	c = cell{operation: op.name, point: point, fault: fault, args: "-op " + op.name}
	if point != "" {
		c.args += " -point " + point + " -fault " + fault
	}
	l, err := w.install(op.env...)
	if err != nil {
		return c, err
	}
	s := &stage{lap: l, again: answer{err: errUnasked}}
	defer func() { err = errors.Join(err, w.uninstall(context.WithoutCancel(ctx), l)) }()
	defer s.close()
	defer l.kill() // so that clients which wait for an answer get none
	if err := s.prepare(ctx, op); err != nil {
		return c, fmt.Errorf("%s: %w\n%s", op.name, err, &l.talk)
	}
	before, err := l.passed()
	if err != nil {
		return c, err
	}
	if point != "" {
		name, n, _ := strings.Cut(point, "#")
		if err := l.order(fault + " " + n + " " + name); err != nil {
			return c, err
		}
	}
	op.act(ctx, s)
	await(ctx, linger, func() bool { return l.struck() })
	c.reached = l.struck()
	if all, err := l.passed(); err == nil {
		c.points = all[len(before):]
	}
	if err := l.order("off"); err != nil {
		return c, err
	}
	if err := s.resume(ctx, fault); err != nil {
		return c, fmt.Errorf("%s: %w\n%s", op.name, err, &l.talk)
	}
	if op.retry != nil && point != "" {
		op.retry(ctx, s)
	}
	s.behind.Wait()
	s.settle(ctx)
	s.prove(ctx)
	s.afterwards(ctx, &c)
	if len(c.wrong) > 0 && ctx.Err() == nil {
		c.keep(l)
	}
	return c, ctx.Err()
}

// prepare starts the server and sets an operation up.
func (s *stage) prepare(ctx context.Context, op operation) error {
	if err := s.lap.start(ctx); err != nil {
		return err
	}
	if err := s.newAgent(ctx); err != nil {
		return err
	}
	return op.setup(ctx, s)
}

// resume starts the server again when a fault has ended it.
func (s *stage) resume(ctx context.Context, fault string) error {
	if fault == "kill" && s.lap.struck() {
		<-s.lap.down()
	}
	if !s.lap.dead() {
		return nil
	}
	return s.lap.start(ctx)
}

// afterwards notes where everything came to rest.
func (s *stage) afterwards(ctx context.Context, c *cell) {
	c.wrong = s.wrong
	c.got = strings.Trim(s.first.String()+"/"+s.again.String(), "/")
	snap, err := s.lap.snapshot(ctx)
	if err != nil {
		c.wrong = append(c.wrong, err.Error())
		return
	}
	var states []string
	for _, r := range snap.sessions {
		states = append(states, r.status)
	}
	if len(states) == 0 {
		states = []string{"none"}
	}
	slices.Sort(states)
	c.after = strings.Join(slices.Compact(states), "+")
	if last := s.lastTurn(snap); last != "" {
		c.after += ", " + last
	}
}

// lastTurn is what became of the last message.
func (s *stage) lastTurn(snap *snapshot) string {
	if len(s.said) == 0 {
		return ""
	}
	turns := snap.turnsOf(s.said[len(s.said)-1])
	if len(turns) == 0 {
		return "no turn"
	}
	return turns[0].status
}

// keep writes down what the server said, for who looks into a violation.
func (c *cell) keep(l *lap) {
	f, err := os.CreateTemp("", "lap-violation-*.log")
	if err != nil {
		return
	}
	defer f.Close()
	points, _ := l.passed() // for reading only
	fmt.Fprintf(f, "%s %s %s\n%s\n\n%s\n%s\n", c.operation, c.point, c.fault, strings.Join(c.wrong, "\n"), strings.Join(points, "\n"), &l.talk)
	c.wrong = append(c.wrong, "log: "+f.Name())
}
