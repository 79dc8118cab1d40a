package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// steal lets sandboxes try everything.
func (a *audit) steal(ctx context.Context) error {
	for _, t := range thefts(a.boxes.search()) {
		got, err := a.must(ctx, a.actors.session, t)
		switch {
		case err != nil:
			return err
		case t.name == grepTheft:
			a.hold(slices.Contains(got.found, control), "a file written into the sandbox is found by grep in the sandbox")
		case t.name == memoryTheft && !bytes.Contains(got.text, []byte(" bytes")):
			a.report.Skipped = append(a.report.Skipped, "memory of processes, seen from the sandbox: its image has no perl")
		}
	}
	_, err := a.must(ctx, a.actors.another, theft{"credentials that may go nowhere", nowhereCommand})
	return err
}

// try makes a sandbox run a command.
func (a *audit) try(ctx context.Context, s session, t theft) (answer, error) {
	c := a.api
	c.place = "theft: " + t.name
	return c.do(ctx, http.MethodPost, s.path()+"/message", map[string]string{"text": "RUN: " + t.command})
}

// must is try where the sandbox must live on, whatever became of the command.
func (a *audit) must(ctx context.Context, s session, t theft) (answer, error) {
	got, err := a.try(ctx, s, t)
	if err == nil && got.status != http.StatusOK {
		err = fmt.Errorf("a sandbox did not try %s: HTTP %d: %s", t.name, got.status, clip(got.text))
	}
	return got, err
}

// askAll asks the API for all that it says of agents and sessions.
func (a *audit) askAll(ctx context.Context) error {
	agents := a.api.as(agentAnswers, shown...)
	for _, path := range []string{"/agents", "/agents/" + a.actors.thief.ID, "/agents/" + a.actors.other.ID} {
		if err := agents.made(ctx, http.MethodGet, managed+path, nil, nil); err != nil {
			return err
		}
	}
	for _, path := range []string{"/healthz", "/api/v1/metrics", "/api/v1/skills", managed + "/sessions"} {
		if err := a.ask(ctx, a.api.as(path[strings.LastIndexByte(path, '/')+1:]), path); err != nil {
			return err
		}
	}
	for _, s := range a.actors.sessions() {
		if err := a.askSession(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// askSession asks for all that there is about a session.
func (a *audit) askSession(ctx context.Context, s session) error {
	for _, what := range []string{
		"", "messages", "log", "diagnose", "sandbox_logs", "interceptions", "egress", "vault-keys", "memory", "opencode/session", "opencode/config",
	} {
		place := what
		if what == "" {
			place = "sessions"
		}
		if err := a.ask(ctx, a.api.as(place), strings.TrimSuffix(s.path()+"/"+what, "/")+"?limit=200"); err != nil {
			return err
		}
	}
	limited, cancel := context.WithTimeout(ctx, time.Second/2)
	defer cancel()
	err := a.ask(limited, a.api.as("events"), s.path()+"/stream?follow=1&after=0")
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil // the stream of a session that is not ready begins later
	}
	return err
}

// ask reads an answer, whatever it says.
func (a *audit) ask(ctx context.Context, c caller, path string) error {
	_, err := c.do(ctx, http.MethodGet, path, nil)
	return err
}

// lookAtBoxes looks at the sandboxes from outside.
func (a *audit) lookAtBoxes(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range a.actors.sessions() {
		g.Go(func() error { return a.boxes.sandbox(ctx, *s.Box) })
		g.Go(func() error {
			found, err := a.boxes.files(ctx, *s.Box)
			if i == 0 {
				a.hold(slices.Contains(found, control), "the same file is found in its file system from outside")
			}
			return err
		})
	}
	g.Go(func() error { return a.boxes.shared(ctx, *a.actors.session.Box) })
	return g.Wait()
}

// restart kills the first process of the thief's sandbox, and brings it back with other
// variables.
func (a *audit) restart(ctx context.Context) error {
	if _, err := a.try(ctx, a.actors.session, theft{"a crash of the sandbox", "kill -QUIT 1; kill -SEGV 1; sleep 1"}); err != nil {
		return err
	}
	if err := a.askSession(ctx, a.actors.session); err != nil {
		return err
	}
	err := a.api.as("sessions").made(ctx, http.MethodPost, a.actors.session.path()+"/restart", map[string]any{
		"env_vars":      map[string]string{sessionVar: a.world.canaries.text[ofSession], restartVar: a.world.canaries.text[ofRestart]},
		"env_var_hosts": map[string][]string{restartVar: {boundHost}, sessionVar: {boundHost}},
	}, &a.actors.session)
	if err != nil {
		return err
	}
	for _, t := range append(thefts(a.boxes.search())[:2], theft{"the variable of a restart", `curl -sim 3 -H "Authorization: Bearer $` + restartVar + `" http://` + boundHost + `/`}) {
		if _, err := a.must(ctx, a.actors.session, t); err != nil {
			return err
		}
	}
	if err := a.askSession(ctx, a.actors.session); err != nil {
		return err
	}
	return a.boxes.sandbox(ctx, *a.actors.session.Box)
}

// undecryptable starts the server with a key that opens nothing of what it has stored.
func (a *audit) undecryptable(ctx context.Context) (err error) {
	found, err := a.ledger.lookAtData(a.world.data) // as the crash has left it
	if err != nil {
		return err
	}
	a.hold(slices.Contains(found, control), "what a sandbox printed is found in the database")
	env, err := a.world.wrongKey()
	if err != nil {
		return err
	}
	if a.server, err = startChild(ctx, a.cfg.Binary, a.world.data, a.world.log, env); err != nil {
		return err
	}
	a.connect()
	c := a.api.as("answers with another encryption key")
	for _, path := range []string{"/agents", "/agents/" + a.actors.thief.ID, "/sessions"} {
		if err := a.ask(ctx, c, managed+path); err != nil {
			return err
		}
	}
	if _, err := c.do(ctx, http.MethodPost, a.actors.session.path()+"/restart", map[string]any{}); err != nil {
		return err
	}
	if err := a.ask(ctx, c, a.actors.session.path()+"/diagnose"); err != nil {
		return err
	}
	for _, id := range a.agents {
		if _, err := c.do(ctx, http.MethodDelete, managed+"/agents/"+id, nil); err != nil {
			return err
		}
	}
	return a.server.stop(ctx)
}

// lookAtFiles looks at what servers leave on disk.
func (a *audit) lookAtFiles(context.Context) error {
	if _, err := a.ledger.lookAtData(a.world.data); err != nil {
		return err
	}
	if _, err := a.ledger.lookAtFile(logPlace, a.world.log); err != nil {
		return err
	}
	return a.ledger.lookAtTemp(a.world.dir + "/tmp")
}
