package audit

import (
	"context"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// The agents: one that has all kinds of credentials and steals, one that may send its own
// nowhere, and one whose model is behind the gateway.
type actors struct {
	thief, other, talker agent
	session, another     session // of thief and other
	talk                 session // of talker
}

func (a actors) sessions() []session { return []session{a.session, a.another, a.talk} }

// Places of the API whose contents are known.
const (
	agentAnswers = "agents, with their own env_vars"
	errorAnswers = "refused requests and failed sessions"
)

// shown are the canaries that agents show: their own env_vars.
var shown = []string{bound, unbound, suggested, other}

// controlFile is where the control is put.
const controlFile = "/tmp/control"

// open makes agents and sessions, and meanwhile the mistakes of users.
func (a *audit) open(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.openThief(ctx) })
	g.Go(func() error { return a.openOther(ctx) })
	g.Go(func() error { return a.openTalker(ctx) })
	g.Go(func() error { return a.mistakes(ctx) })
	return g.Wait()
}

func (a *audit) openThief(ctx context.Context) error {
	text := a.world.canaries.text
	in := map[string]any{
		"name": "thief", "model": "scripted/echo", "harness_id": "lap",
		"env_vars":      map[string]string{boundVar: text[bound], unboundVar: text[unbound], suggestedVar: text[suggested]},
		"env_var_hosts": map[string][]string{boundVar: {boundHost, secureHost}}, "allow_out": []string{boundHost, secureHost},
	}
	if a.world.repository != nil {
		in["repo_url"] = "http://" + a.world.repository.addr + repoPath
	} else {
		a.report.Skipped = append(a.report.Skipped, "repositories: git is not installed")
	}
	if err := a.agent(ctx, in, &a.actors.thief); err != nil {
		return err
	}
	err := a.api.as("sessions").made(ctx, http.MethodPost, managed+"/agents/"+a.actors.thief.ID+"/session", map[string]any{
		"title": "thief", "env_vars": map[string]string{sessionVar: text[ofSession]},
		"env_var_hosts": map[string][]string{sessionVar: {boundHost, secureHost}},
	}, &a.actors.session)
	if err != nil {
		return err
	}
	if a.actors.session, err = a.api.as("sessions").ready(ctx, a.actors.session.ID); err != nil {
		return err
	}
	return a.api.as("files").made(ctx, http.MethodPut, a.actors.session.path()+"/files?path="+controlFile, []byte(text[control]), nil)
}

// openOther opens a session of the other agent. It is asked for twice, which is one session.
func (a *audit) openOther(ctx context.Context) error {
	err := a.agent(ctx, map[string]any{
		"name": "other", "model": "scripted/echo", "harness_id": "lap", "env_vars": map[string]string{otherVar: a.world.canaries.text[other]},
	}, &a.actors.other)
	if err != nil {
		return err
	}
	body := map[string]any{"title": "other", "env_vars": map[string]string{sessionVar: a.world.canaries.text[ofSession]}}
	for range 2 {
		once := a.api.as("repeated requests").with("Idempotency-Key", "audit")
		if err := once.made(ctx, http.MethodPost, managed+"/agents/"+a.actors.other.ID+"/session", body, &a.actors.another); err != nil {
			return err
		}
	}
	a.actors.another, err = a.api.as("sessions").ready(ctx, a.actors.another.ID)
	return err
}

// openTalker opens a session that talks to the model gateway, each sentence twice under one
// key.
func (a *audit) openTalker(ctx context.Context) error {
	err := a.agent(ctx, map[string]any{"name": "talker", "model": goodModel, "harness_id": "lap"}, &a.actors.talker)
	if err != nil {
		return err
	}
	if err := a.api.as("sessions").made(ctx, http.MethodPost, managed+"/agents/"+a.actors.talker.ID+"/session", nil, &a.actors.talk); err != nil {
		return err
	}
	if a.actors.talk, err = a.api.as("sessions").ready(ctx, a.actors.talk.ID); err != nil {
		return err
	}
	for _, text := range []string{"hi", "hi", failWord, failWord} {
		once := a.api.as("repeated requests").with("Idempotency-Key", "audit "+text)
		if _, err := once.do(ctx, http.MethodPost, a.actors.talk.path()+"/message", map[string]string{"text": text}); err != nil {
			return err
		}
	}
	return nil
}

// agent makes an agent.
func (a *audit) agent(ctx context.Context, in map[string]any, out *agent) error {
	err := a.api.as(agentAnswers, shown...).made(ctx, http.MethodPost, managed+"/agents", in, out)
	if err == nil {
		a.made(out.ID)
	}
	return err
}
