package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"lap/db"
	"lap/sandbox"
)

// errStalled says that a bring-up made no progress for the configured time.
var errStalled = errors.New("creating timeout")

// Create stores a session and begins to bring it up. It returns at once, with the
// session in state creating. The error is db.ErrNotFound when the agent is gone.
func (e *Engine) Create(ctx context.Context, agent db.Agent, in NewSession) (db.Session, error) { //nolint:contextcheck // a bring-up outlives the request that asked for it
	e.births.RLock()
	defer e.births.RUnlock()
	if e.ending[agent.ID] > 0 {
		return db.Session{}, db.ErrNotFound
	}
	s, err := e.cfg.Store.CreateSession(ctx, db.NewSession{
		AgentID: agent.ID, Title: in.Title, SkillIDs: in.SkillIDs,
		EnvNames: slices.Sorted(maps.Keys(in.Env)), EnvPlain: in.EnvPlain, Warnings: warnings(agent),
	})
	if err != nil {
		return db.Session{}, err
	}
	bctx, cancel := context.WithCancel(e.ctx)
	l := newLive(s)
	l.cancel, l.bringUp = cancel, make(chan struct{})
	e.register(l)
	b := &bringUp{engine: e, live: l, session: s, agent: agent, in: in}
	started := e.launch(func(context.Context) {
		defer close(l.bringUp)
		defer cancel()
		b.run(bctx)
	})
	if !started {
		cancel()
		e.forget(l)
		return db.Session{}, errors.Join(ErrStopping, e.cfg.Store.MarkFailed(ctx, s.ID, s.Generation, interrupted))
	}
	return s, nil
}

// interrupted is why a session failed whose bring-up ended with lap's process.
const interrupted = "platform restarted during bring-up: create the session again"

// warnings names what an agent asks for and this lap does not do.
func warnings(agent db.Agent) []string {
	var list []string
	if agent.RepoURL != nil {
		list = append(list, "repo_url is not cloned: sandboxes have no way to reach it yet")
	}
	if agent.Requirements != nil {
		list = append(list, "requirements are not installed: sandboxes have no way to reach a package index yet")
	}
	if len(agent.MCPServers) > 0 {
		list = append(list, "mcp_servers are not available to the built-in agent yet")
	}
	return list
}

// A bringUp takes one session from creating to ready, or to failed.
type bringUp struct {
	engine   *Engine
	live     *live
	session  db.Session
	agent    db.Agent
	in       NewSession
	progress *progress
	first    *place // of the initial prompt in the queue of turns; nil: there is none
}

func (b *bringUp) run(ctx context.Context) {
	e, log := b.engine, b.engine.cfg.Log.With("session", b.session.ID, "agent", b.agent.ID)
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b.progress = startProgress(ctx, e.cfg.Store, b.session, e.cfg.StartTimeout, func() { cancel(errStalled) })
	err := b.bringUp(ctx)
	b.progress.stop()
	if err == nil {
		log.InfoContext(ctx, "session ready", "duration", time.Since(began).Round(time.Millisecond))
		if b.first != nil {
			e.launch(func(ctx context.Context) { b.firstPrompt(ctx, log) })
		}
		return
	}
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		err = cause
	}
	e.forget(b.live)
	b.removeSandbox(ctx, log)
	// What ended ctx must not keep the row from telling why.
	mark := e.cfg.Store.MarkFailed(context.WithoutCancel(ctx), b.session.ID, b.session.Generation, reason(err))
	if errors.Is(mark, db.ErrStale) { // stopped by its user, or its agent is gone
		return
	}
	log.WarnContext(ctx, "session failed", "err", errors.Join(err, mark))
}

// reason is what a user reads in failure_reason.
func reason(err error) string {
	if errors.Is(err, context.Canceled) {
		return interrupted
	}
	return oneLine(err.Error())
}

// bringUp makes the sandbox and its harness session. What it made on the way is noted
// in the row, and in b.session for removeSandbox.
func (b *bringUp) bringUp(ctx context.Context) error {
	e, s := b.engine, &b.session
	image, err := b.image()
	if err != nil {
		return err
	}
	boot, err := e.compose(ctx, b.agent, *s, b.in)
	if err != nil {
		return err
	}
	b.progress.set("creating_sandbox", "")
	if err := e.cfg.Runtime.Ensure(ctx, image, func(detail string) { b.progress.set("creating_sandbox", detail) }); err != nil {
		return err
	}
	id, err := e.cfg.Runtime.Create(ctx, sandbox.Spec{
		Session: s.ID, Agent: b.agent.ID, Generation: s.Generation, Image: image, Limits: e.cfg.Limits,
	})
	if err != nil {
		return err
	}
	s.ContainerID = &id
	if err := e.cfg.Store.SetContainer(ctx, s.ID, s.Generation, id); err != nil {
		return err
	}
	b.progress.set("pod_pending", "")
	conn, err := e.cfg.Runtime.Start(ctx, id)
	if err != nil {
		return err
	}
	b.progress.set("pod_running", "")
	client, err := e.connect(b.live, conn)
	if err != nil {
		return err
	}
	return b.live.conn.explain(b.handshake(ctx, client, boot))
}

// handshake boots the guest and creates the harness session.
func (b *bringUp) handshake(ctx context.Context, client *http.Client, boot composition) error {
	b.progress.set("waiting_harness", "")
	if err := bootGuest(ctx, client, boot.Boot, func(phase string) { b.progress.set(phase, "") }); err != nil {
		return err
	}
	b.progress.set("harness_ready", "")
	title := "default"
	if b.session.Title != nil {
		title = *b.session.Title
	}
	id, err := createSession(ctx, client, title, boot.prompt, boot.Boot)
	if err != nil {
		return err
	}
	b.progress.stop() // so that no phase is written after ready
	b.session.HarnessSessionID = &id
	if len(b.in.InitialParts) > 0 {
		p := b.live.turns.join() // before anybody can send a message
		b.first = &p
	}
	return b.engine.cfg.Store.MarkReady(ctx, b.session.ID, b.session.Generation, id)
}

// image is what the sandbox is made from: the agent's own choice, else the operator's,
// else the harness's.
func (b *bringUp) image() (string, error) {
	h, ok := sandbox.LookupHarness(b.agent.HarnessID)
	if !ok || h.Image == "" {
		return "", fmt.Errorf("harness %q cannot run in this version of lap: create the agent with harness_id %q, the built-in agent",
			b.agent.HarnessID, sandbox.HarnessLap)
	}
	if b.agent.HarnessImage != nil {
		return *b.agent.HarnessImage, nil
	}
	if image := b.engine.cfg.Images[h.ID]; image != "" {
		return image, nil
	}
	return h.Image, nil
}

// firstPrompt sends the session's initial prompt. A failure is noted, and the session
// stays ready; a turn that only takes too long is no failure.
func (b *bringUp) firstPrompt(ctx context.Context, log *slog.Logger) {
	t := &turn{engine: b.engine, live: b.live, parts: b.in.InitialParts}
	answer, err := b.engine.startTurn(ctx, t, *b.first)
	if err == nil {
		err = modelError(answer)
	}
	if err == nil || errors.Is(err, ErrStopping) || errors.Is(err, ErrNotReady) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	log.WarnContext(ctx, "initial prompt failed", "err", err)
	err = b.engine.cfg.Store.NoteFailure(ctx, b.session.ID, "initial_prompt failed: "+oneLine(err.Error()))
	if ignoreStale(err) != nil {
		log.ErrorContext(ctx, "failure of the initial prompt not noted", "err", err)
	}
}

func (b *bringUp) removeSandbox(ctx context.Context, log *slog.Logger) {
	if b.session.ContainerID == nil {
		return
	}
	if err := b.engine.cfg.Runtime.Remove(ctx, *b.session.ContainerID); err != nil {
		log.ErrorContext(ctx, "sandbox not removed, the next reconcile tries again", "err", err)
	}
}
