package session

import (
	"context"
	"errors"

	"lap/db"
)

// VaultKeys returns the names of the credentials that a session's sandbox has stubs of,
// the session's own last; none when it has no sandbox.
func (e *Engine) VaultKeys(ctx context.Context, s db.Session) ([]string, error) {
	if s.ContainerID == nil || s.Status == db.StatusFailed || s.Status == db.StatusDead {
		return nil, nil
	}
	agent, err := e.cfg.Store.Agent(ctx, s.AgentID)
	if errors.Is(err, db.ErrNotFound) { // it went meanwhile, and the session with it
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	own := map[string]string{}
	for _, name := range s.EnvNames {
		own[name] = "?" // values do not matter, and may not be known
	}
	var names, last []string
	for _, c := range e.credentials(agent, s, own) {
		if _, isOwn := own[c.Name]; isOwn {
			last = append(last, c.Name)
		} else {
			names = append(names, c.Name)
		}
	}
	return append(names, last...), nil
}
