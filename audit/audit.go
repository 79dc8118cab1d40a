// Package audit proves that lap keeps secrets: it runs a server whose every secret is a
// canary, lets sandboxes try to steal them, and looks for them in all places where a
// secret could be left.
package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// longest is how long an audit may take.
const longest = 2 * time.Minute

// Config says what to audit.
type Config struct {
	Binary string            // lap
	Say    func(text string) // hears what is begun
}

// An audit is one run.
type audit struct {
	cfg    Config
	world  *world
	ledger *ledger
	boxes  observer // nil until the server runs
	server *child
	watch  *watch
	api    caller
	actors actors
	report *Report

	mu     sync.Mutex // guards agents
	agents []string   // their ids
}

// Run audits lap on this machine. The error is that the audit could not be done; what it
// has found is in the Report. Nothing of it stays, also when ctx ends.
func Run(ctx context.Context, cfg Config) (_ *Report, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("the audit took longer than %s", longest))
	defer cancel()
	a := &audit{cfg: cfg, report: &Report{Skipped: []string{}, Controls: []Control{}}}
	if a.world, err = newWorld(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.clear(ctx)) }()
	if err := a.all(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	a.report.Canaries, a.report.Places = a.world.canaries.secrets(), a.ledger.sorted()
	a.report.Duration = time.Since(began)
	a.report.conclude()
	return a.report, nil
}

// clear removes all that the audit has made.
func (a *audit) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longest)
	defer cancel()
	err := a.server.stop(ctx)
	if a.boxes != nil {
		err = errors.Join(err, a.boxes.remove(ctx, a.agents), a.boxes.Close())
	}
	return errors.Join(err, a.world.close())
}

// all does the audit, one step after the other.
func (a *audit) all(ctx context.Context) error {
	if err := a.start(ctx); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	g, gctx := errgroup.WithContext(watching)
	g.Go(func() error { a.watch.run(gctx); return nil })
	g.Go(func() error { defer stop(); return a.steps(gctx) })
	return g.Wait()
}

func (a *audit) steps(ctx context.Context) error {
	for _, step := range []struct {
		say string
		do  func(context.Context) error
	}{
		{"sessions are opened, and requests with secrets refused", a.open},
		{"sandboxes try to steal secrets", a.steal},
		{"all answers of the API are looked at", a.askAll},
		{"sandboxes and their file systems are looked at from outside", a.lookAtBoxes},
		{"a sandbox is crashed and restarted", a.restart},
		{"the server is crashed", a.crash},
		{"the server starts with another encryption key", a.undecryptable},
		{"files are looked at", a.lookAtFiles},
	} {
		a.cfg.Say(step.say)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	a.controls()
	return nil
}

// start starts the server, and only then knows all secrets.
func (a *audit) start(ctx context.Context) (err error) {
	a.cfg.Say("a server starts whose every secret is a canary")
	if a.server, err = startChild(ctx, a.cfg.Binary, a.world.data, a.world.log, a.world.env); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(a.world.data, "ca.key"))
	if err != nil {
		return err
	}
	key, err := authorityKey(text)
	if err != nil {
		return err
	}
	a.world.canaries.add(caKey, key)
	scanner, err := NewScanner(a.world.canaries.core)
	if err != nil {
		return err
	}
	a.ledger = &ledger{scanner: scanner}
	a.watch = newWatch(a.ledger, []string{operatorEnv, operatorGit})
	a.connect()
	return a.observe(ctx)
}

// connect makes the server that runs now the one that is spoken to.
func (a *audit) connect() {
	a.api = caller{base: a.server.url, key: a.world.canaries.text[masterKey], ledger: a.ledger}
	a.watch.of(a.server.pid())
}

// crash makes the server show all that it does as it ends.
func (a *audit) crash(ctx context.Context) error { return a.server.signal(ctx, syscall.SIGQUIT) }

// hold enters a control.
func (a *audit) hold(held bool, name string) {
	a.report.Controls = append(a.report.Controls, Control{name, held})
}

// made remembers an agent, to remove what is left of it.
func (a *audit) made(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.agents = append(a.agents, id)
}
