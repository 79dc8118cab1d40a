package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"lap/client"
)

// native compares a session on a native sandbox, from POST to ready, with new namespaces
// in which nothing is done. The two alternate, so that both see the same machine.
func native(ctx context.Context, w *world) (_ []result, err error) {
	n := &world{binary: w.binary, dir: filepath.Join(w.dir, "native"), env: []string{"LAP_SANDBOX=native"}}
	if err := n.start(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	n.api = client.New(n.url, key)
	agent, err := n.api.CreateAgent(ctx, client.NewAgent{Name: "native", Model: "scripted/echo", HarnessID: "lap"})
	if err != nil {
		return nil, err
	}
	n.agent = agent
	defer func() { err = errors.Join(err, n.api.DeleteAgent(context.WithoutCancel(ctx), agent.ID)) }()
	var floors []time.Duration
	session, err := median(runs*2, func() (time.Duration, error) {
		began := time.Now()
		if err := exec.CommandContext(ctx, "unshare", "--user", "--pid", "--net", "--mount", "true").Run(); err != nil {
			return 0, err
		}
		floors = append(floors, time.Since(began))
		return n.timedSession(ctx)
	})
	if err != nil {
		return nil, err
	}
	floor := middle(floors)
	return []result{{
		"cold native session, POST to ready", ms(session), ms(floor) + " unshare true",
		fmt.Sprintf("%s of 3 floors + 20 ms", ratio(session, 3*floor+20*time.Millisecond)),
	}}, nil
}
