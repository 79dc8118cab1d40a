package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	stormClients = 3
	stormPause   = 2500 * time.Millisecond // between two kills, at most
)

// storm kills the server at random times while clients create sessions, send messages
// and end sessions, each of which they repeat with the same key until it is answered.
func storm(ctx context.Context, w *world, o options) (c cell) {
	c = cell{
		operation: "load", point: fmt.Sprintf("%d kills at random times", o.rounds), fault: "kill", reached: true,
		args: fmt.Sprintf("-op load -rounds %d -seed %d", o.rounds, o.seed),
	}
	l, err := w.install("WARM_POOL_SIZE=1")
	if err != nil {
		c.wrong = []string{err.Error()}
		return c
	}
	s := &stage{lap: l, first: answer{err: errUnasked}, again: answer{err: errUnasked}}
	defer func() {
		l.kill()
		s.close()
		if err := w.uninstall(context.WithoutCancel(ctx), l); err != nil {
			c.wrong = append(c.wrong, err.Error())
		}
	}()
	if err := s.prepare(ctx, operation{setup: empty}); err != nil {
		c.wrong = []string{err.Error()}
		return c
	}
	if err := s.rage(ctx, o); err != nil {
		s.fault("%v", err)
	}
	s.settle(ctx)
	s.prove(ctx)
	s.afterwards(ctx, &c)
	c.got = fmt.Sprintf("%d sessions, %d messages", len(s.parties), len(s.said))
	if len(c.wrong) > 0 && ctx.Err() == nil {
		c.keep(l)
	}
	return c
}

// rage lets clients work while the server is killed and started again.
func (s *stage) rage(ctx context.Context, o options) error {
	working, finish := context.WithCancel(ctx)
	defer finish()
	g, working := errgroup.WithContext(working)
	for i := range stormClients {
		g.Go(func() error { return s.work(working, i) })
	}
	random := rand.New(rand.NewPCG(o.seed, 1))
	var failed error
	for range o.rounds {
		select {
		case <-time.After(time.Duration(random.Int64N(int64(stormPause)))):
		case <-working.Done():
		}
		if working.Err() != nil {
			break
		}
		s.lap.kill()
		if failed = s.lap.start(ctx); failed != nil {
			break
		}
		fmt.Fprint(os.Stderr, ".")
	}
	fmt.Fprintln(os.Stderr)
	finish()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return errors.Join(failed, err)
	}
	return failed
}

// work opens sessions, one after the other, with some messages each. The last stays.
func (s *stage) work(ctx context.Context, client int) error {
	for n := 0; ctx.Err() == nil; n++ {
		p, err := s.createSurely(ctx, fmt.Sprintf("create-%d-%d", client, n))
		if err != nil {
			return err
		}
		if status := s.awaitUp(ctx, p); ctx.Err() != nil {
			break
		} else if status != "ready" {
			return fmt.Errorf("session %s is %s", short(p.id), status)
		}
		for i := range 4 {
			if err := s.saySurely(ctx, p, fmt.Sprintf("say-%d", i)); err != nil {
				return err
			}
		}
		if n%2 == 0 {
			if err := s.endSurely(ctx, p); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// surely repeats a request until the server has answered it, or ctx ends.
func surely(ctx context.Context, ask func(context.Context) answer) (got answer, err error) {
	for ctx.Err() == nil {
		// Who leaves waits for the answer, so as to know what was promised.
		got = ask(context.WithoutCancel(ctx))
		if got.status != 0 && got.status != http.StatusInternalServerError && got.status != http.StatusServiceUnavailable {
			return got, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return got, ctx.Err()
}

func (s *stage) createSurely(ctx context.Context, key string) (p *party, err error) {
	got, err := surely(ctx, func(ctx context.Context) (got answer) {
		p, got = s.create(ctx, key, map[string]string{"title": key})
		return got
	})
	if err == nil && p == nil {
		err = fmt.Errorf("create: %s %s", got, got.body)
	}
	return p, err
}

// awaitUp waits until a session is no more creating.
func (s *stage) awaitUp(ctx context.Context, p *party) (status string) {
	await(ctx, 2*settleLimit, func() bool {
		status = s.status(ctx, p)
		return status != "" && status != "creating"
	})
	return status
}

// saySurely sends a message until it is answered. A message whose sandbox was lost is
// answered by an error that stays.
func (s *stage) saySurely(ctx context.Context, p *party, key string) error {
	m := s.marked(p, key, "")
	m.first = answer{err: errUnasked}
	for range 2 {
		got, err := surely(ctx, func(ctx context.Context) answer { return s.send(ctx, m) })
		if err != nil {
			return err
		}
		if m.first.status == 0 {
			m.first = got
		} else {
			m.again = got
		}
	}
	if !m.told() {
		return fmt.Errorf("%s: %s %s", m.mark, m.first, m.first.body)
	}
	return nil
}

func (s *stage) endSurely(ctx context.Context, p *party) error {
	_, err := surely(ctx, func(ctx context.Context) answer { return s.end(ctx, p) })
	return err
}
