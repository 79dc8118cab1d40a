package main

import (
	"context"
	"net/http"
)

// A neighbour is another installation on the same engine, with one session. Nobody but
// its own server may touch its sandbox.
type neighbour struct {
	stage   *stage
	started string // when its sandbox was started
}

func newNeighbour(ctx context.Context, w *world) (*neighbour, error) {
	l, err := w.install()
	if err != nil {
		return nil, err
	}
	n := &neighbour{stage: &stage{lap: l, again: answer{err: errUnasked}}}
	if err := n.stage.prepare(ctx, operation{setup: oneReady}); err != nil {
		return nil, err
	}
	n.started, err = n.birth(ctx)
	return n, err
}

// birth says when the sandbox of the session was made and started.
func (n *neighbour) birth(ctx context.Context) (string, error) {
	id, err := n.stage.container(ctx, n.stage.parties[0])
	if err != nil {
		return "", err
	}
	return n.stage.lap.world.engine.birth(ctx, n.stage.lap, id)
}

// untouched checks that the sandbox is the same, runs, and answers.
func (n *neighbour) untouched(ctx context.Context) cell {
	s := n.stage
	if now, err := n.birth(ctx); err != nil || now != n.started {
		s.fault("the sandbox of another installation was touched: %s, %v", now, err)
	}
	message(ctx, s)
	s.settle(ctx)
	s.prove(ctx)
	c := cell{operation: "neighbour", wrong: s.wrong}
	s.afterwards(ctx, &c)
	s.first = s.lap.call(ctx, http.MethodDelete, agentPath(s.agent), "", nil)
	s.close()
	return c
}
