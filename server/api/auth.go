package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"

	"github.com/julienschmidt/httprouter"

	"lap/db"
)

// errUnauthorized never says which check failed.
var errUnauthorized error = &requestError{http.StatusUnauthorized, "unauthorized"}

// A caller is an agent that asks from inside a sandbox. The owner of the master key is
// the nil caller.
type caller struct {
	agent   string
	session string // empty: not known
	scopes  []string
}

type callerKey struct{}

// attach returns r as a request of c.
func (c *caller) attach(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
}

// callerOf returns who sent r, nil for the owner of the master key.
func callerOf(r *http.Request) *caller {
	c, _ := r.Context().Value(callerKey{}).(*caller)
	return c
}

// sessionID is the session the caller is known to speak for, nil when none is.
func (c *caller) sessionID() *string {
	if c == nil || c.session == "" {
		return nil
	}
	return &c.session
}

// admits reports whether c may use the route for the agent that its path names.
func (acc access) admits(c *caller, p httprouter.Params) bool {
	if c == nil || acc.public {
		return true
	}
	agent := p.ByName("agent_id")
	return acc.scope != "" && slices.Contains(c.scopes, acc.scope) && (agent == "" || agent == c.agent)
}

// authenticated lets pass who has a credential. It comes before the router, so that a
// stranger cannot tell what exists.
func (a *API) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case a.isPublic(r.URL.Path), ok && a.isMaster(token):
			next.ServeHTTP(w, r)
		default:
			if c := a.agentCaller(r.Context(), token); c != nil {
				next.ServeHTTP(w, c.attach(r))
				return
			}
			a.fail(w, r, errUnauthorized)
		}
	})
}

// isPublic reports whether a path has a route that needs no credential, or one of its own.
func (a *API) isPublic(path string) bool {
	handle, _, _ := a.public.Lookup(anyMethod, path)
	return handle != nil
}

// isMaster compares digests, so that time tells nothing about the key, not even its
// length.
func (a *API) isMaster(token string) bool {
	digest := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(digest[:], a.masterKey[:]) == 1
}

// agentCaller returns whom an agent token stands for, or nil. A token that names a
// session dies with it.
func (a *API) agentCaller(ctx context.Context, token string) *caller {
	cl, ok := parseToken(a.cfg.TokenKey, token, a.cfg.Now())
	if !ok || cl.Kind != kindAccess {
		return nil
	}
	c := &caller{agent: cl.AgentID, scopes: cl.Scope}
	if cl.Pod == nil {
		return c
	}
	s, err := a.cfg.Store.SessionState(ctx, *cl.Pod)
	if err != nil || s.AgentID != cl.AgentID || s.Status != db.StatusCreating && s.Status != db.StatusReady {
		return nil
	}
	c.session = s.ID
	return c
}
