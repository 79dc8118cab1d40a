package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"lap/db"
	"lap/sandbox/pipe"
	"lap/sandbox/vault"
	"lap/sandbox/vault/rule"
	"lap/sandbox/vault/swap"
)

// EgressConfig says what sandboxes may reach, beside what their agents say.
type EgressConfig struct {
	Network     *vault.Network
	Allow, Deny []rule.Entry // for every sandbox
	DefaultDeny bool         // for agents that do not say
	Anywhere    bool         // credentials that are bound to no host may go to all
	Bodies      swap.Bodies
}

// serveEgress hands every connection that a sandbox asks for to the vault until ctx ends.
func (e *Engine) serveEgress(ctx context.Context) error {
	var serving sync.WaitGroup
	defer serving.Wait()
	stop := context.AfterFunc(ctx, func() { _ = e.egress.Close() })
	defer stop()
	for {
		stream, err := e.egress.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		serving.Go(func() { e.vault.Serve(ctx, stream, pipe.OwnerOf(stream)) })
	}
}

var errEnded = errors.New("the session has ended")

// cutEgress ends the connections of a session that has ended.
func (e *Engine) cutEgress(ctx context.Context, sessionID string) {
	e.vault.Changed(context.WithoutCancel(ctx), sessionID)
}

// policy is what holds for the sandbox of a session now.
func (e *Engine) policy(ctx context.Context, sessionID string) (vault.Policy, error) {
	l := e.find(sessionID)
	if l == nil {
		return vault.Policy{}, errEnded
	}
	s, err := e.cfg.Store.SessionState(ctx, sessionID)
	switch {
	case err != nil:
		return vault.Policy{}, err
	case s.Status != db.StatusCreating && s.Status != db.StatusReady:
		return vault.Policy{}, errEnded
	}
	agent, err := e.cfg.Store.Agent(ctx, s.AgentID)
	if err != nil {
		return vault.Policy{}, err
	}
	own, err := e.ownEnv(ctx, l, s)
	if err != nil {
		return vault.Policy{}, fmt.Errorf("the session's own env_vars are not known: %w", err)
	}
	return e.rules(agent, e.credentials(agent, s, own))
}

// rules is the policy of an agent with some credentials.
func (e *Engine) rules(agent db.Agent, list []credential) (p vault.Policy, err error) {
	p = vault.Policy{Bodies: e.cfg.Egress.Bodies, Rules: rule.Set{
		ServerAllow: e.cfg.Egress.Allow, ServerDeny: e.cfg.Egress.Deny, DefaultDeny: e.defaultDeny(agent),
	}}
	if p.Rules.Allow, err = entries(agent.AllowOut); err != nil {
		return vault.Policy{}, err
	}
	if p.Rules.Deny, err = entries(agent.DenyOut); err != nil {
		return vault.Policy{}, err
	}
	for _, c := range list {
		v, err := c.vaulted()
		if err != nil {
			return vault.Policy{}, err
		}
		p.Credentials = append(p.Credentials, v)
		if c.bound && (len(agent.AllowOut) > 0 || p.Rules.DefaultDeny) { // what a credential is bound to can be reached
			p.Rules.Allow = append(p.Rules.Allow, v.Hosts...)
		}
	}
	return p, nil
}

// entries are host entries. One that cannot be understood is an error: nothing leaves
// rather than too much.
func entries(list []string) ([]rule.Entry, error) {
	out := make([]rule.Entry, 0, len(list))
	for _, text := range list {
		e, err := rule.ParseEntry(text)
		if err != nil {
			return nil, fmt.Errorf("the host %q of the agent's rules: %w", text, err)
		}
		out = append(out, e)
	}
	return out, nil
}

// ownEnv returns the session's own variables. Those that an earlier process of lap gave to
// the sandbox are asked of it.
func (e *Engine) ownEnv(ctx context.Context, l *live, s db.Session) (map[string]string, error) {
	l.mu.Lock()
	env, b := l.env, l.box
	l.mu.Unlock()
	if env != nil || len(s.EnvNames) == 0 || b == nil {
		return env, nil
	}
	client := b.conn.current()
	if client == nil {
		return nil, errReplaced
	}
	if err := e.learnEnv(ctx, l, b, client); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.env, nil
}
