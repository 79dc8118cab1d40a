// Package gateway is the host's side of a sandbox's model gateway, 127.0.0.1:4000. It
// forwards model calls to the gateway that lap is configured with and adds the real key
// there, or answers them itself when they ask for a scripted model or a recorded one.
//
// Requests come from sandboxes, which their agents control: only calls of models pass,
// and nothing of what a request carries decides where it goes or with which key.
package gateway

import (
	"cmp"
	"crypto/x509"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"lap/clock"
	"lap/server/gateway/cassette"
	"lap/server/gateway/scripted"
)

// Config is what a Gateway needs.
type Config struct {
	BaseURL string         // of the model gateway, with or without /v1 or a trailing slash; "" if there is none
	Roots   *x509.CertPool // that its certificate is checked against; nil: the system's
	APIKey  string         // its key, which never reaches a sandbox; "" sends none
	Scripts string         // folder of the scripted models' files <name>.yaml; it need not exist

	Cassettes    string // folder of the recorded models' files <name>.yaml; it need not exist
	DefaultModel string // that is recorded where none is named; "": there is none

	Meter Meter        // nil: calls are not counted
	Clock *clock.Clock // by which prices grow old; nil: the real time
	Watch Observer     // nil: nobody watches
	Log   *slog.Logger
}

// A Gateway answers the model calls of all sandboxes. It tells them apart by
// pipe.Owner.
type Gateway struct {
	upstream     *upstream // nil: none is configured
	models       *scripted.Models
	cassettes    *cassette.Folder
	defaultModel string
	memory       memory
	meter        Meter    // nil: none
	watch        Observer // nil: none
	log          *slog.Logger
}

// New makes a Gateway. It fails when BaseURL is no absolute http or https URL, and does
// not reach out to it.
func New(cfg Config) (*Gateway, error) {
	g := &Gateway{
		models: scripted.New(cfg.Scripts, cfg.Log), cassettes: cassette.Open(cfg.Cassettes, cfg.Log), defaultModel: cfg.DefaultModel,
		meter: cfg.Meter, watch: cfg.Watch, log: cfg.Log,
	}
	if cfg.BaseURL == "" {
		return g, nil
	}
	var err error
	g.upstream, err = newUpstream(cfg)
	return g, err
}

// ServeHTTP answers one request of a sandbox. Failures have the form of the API that
// was called, OpenAI's or Anthropic's.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.watch != nil {
		watched := &seen{ResponseWriter: w}
		defer watched.end()
		w = watched
	}
	if err := g.serve(w, r); err != nil {
		g.fail(w, r, err)
	}
}

// serve returns an error only when it has written nothing.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) error {
	t, err := route(r)
	if err != nil {
		return err
	}
	if t.upload && isMultipart(r) {
		if err := g.observe(w, r, t, nil, asked{}); err != nil {
			return err
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		return g.forward(w, r, t, nil, asked{})
	}
	body, err := g.memory.read(w, r)
	if err != nil {
		return err
	}
	defer body.release()
	asked, err := body.asks()
	if err != nil {
		return err
	}
	if err := g.observe(w, r, t, body, asked); err != nil {
		return err
	}
	if name, ok := scriptedName(slices.Concat(asked.models, t.models)); ok {
		return g.play(w, r, t, name, body)
	}
	if slices.ContainsFunc(slices.Concat(asked.models, t.models), isTape) {
		return g.onTape(w, r, t, body, asked)
	}
	if g.upstream == nil && r.Method == http.MethodGet && t.path == "models" {
		return g.list(w)
	}
	return g.forward(w, r, t, body, asked)
}

// scriptedName returns the last of the names that is a scripted model's. One is enough:
// which of several names a gateway would take is not known here.
func scriptedName(names []string) (string, bool) {
	found := ""
	for _, name := range names {
		if strings.HasPrefix(name, scripted.Prefix) {
			found = name
		}
	}
	return found, found != ""
}

// play answers a call for a scripted model.
func (g *Gateway) play(w http.ResponseWriter, r *http.Request, t target, name string, b *body) error {
	switch {
	case r.Method == http.MethodGet && strings.Contains(t.path, "models/"):
		return g.describe(w, name)
	case !scripted.Answers(t.path):
		return &apiError{
			Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "unsupported_api",
			Message: "scripted models answer POST /v1/chat/completions, /v1/messages and /v1/responses, not " + t.String(),
		}
	}
	c, err := g.admit(r, target{form: t.form}, b, asked{models: names{name}})
	if err != nil {
		return err
	}
	defer c.drop()
	cost := scriptedCost * min(len(b.data), scripted.MaxText)
	if !g.memory.take(c.sandbox, cost) {
		return errBusy
	}
	defer g.memory.take(c.sandbox, -cost)
	return g.models.Answer(r.Context(), w, t.path, name, b.data, scripted.Caller{
		Sandbox: c.sandbox, Session: sessionOf(r.Header), Used: func(u scripted.Usage) { c.count(playedUsage(u)) },
	})
}

// sessionOf is what a harness calls its session: opencode and lap's agent, claude, codex.
func sessionOf(h http.Header) string {
	return cmp.Or(h.Get("X-Session-Id"), h.Get("X-Claude-Code-Session-Id"), h.Get("Session-Id"))
}

func playedUsage(u scripted.Usage) Usage {
	return Usage{
		Calls: 1, InputTokens: int64(u.Prompt), OutputTokens: int64(u.Completion),
		CacheReadTokens: int64(min(u.Cached, u.Prompt)),
	}
}

// forward sends a call to the model gateway. b is nil when its body is streamed through.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request, t target, b *body, a asked) error {
	if g.upstream == nil {
		return errUnconfigured
	}
	c, err := g.admit(r, t, b, a)
	if err != nil {
		return err
	}
	return g.send(w, r, c)
}

// send makes a call that was admitted.
func (g *Gateway) send(w http.ResponseWriter, r *http.Request, c *call) error {
	defer c.drop()
	err := g.upstream.forward(w, r, c)
	switch {
	case err == nil:
	case r.Context().Err() != nil:
		c.count(c.abandoned())
	default:
		g.log.WarnContext(r.Context(), "model gateway failed", "session", c.sandbox, "path", c.String(), "err", g.upstream.redact(err.Error()))
	}
	return err
}
