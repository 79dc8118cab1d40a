package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/metrics"
)

// errStalled says that a bring-up made no progress for the configured time.
var errStalled = errors.New("creating timeout")

// A bringUp takes one session from creating to ready, or to where a failure leads.
type bringUp struct {
	engine  *Engine
	live    *live
	session db.Session
	agent   db.Agent
	warm    *warmBox // a sandbox from the pool; nil: none
	old     string   // the engine's id of a sandbox to start again, with its files; "": none, or it was replaced
	lost    bool     // it is to take the place of one that was lost
	booted  string   // the guest process that was booted for the session before; "": it is to be booted

	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when it has ended
	err    error         // why it failed; set before done is closed

	began    time.Time
	progress *progress
	conn     *connection // to the sandbox
	client   *http.Client
	warnings []string          // of this bring-up
	env      map[string]string // the session's own variables
}

// newBringUp returns a bring-up of a session. One that was lost has its sandbox still.
func (e *Engine) newBringUp(l *live, s db.Session) *bringUp {
	b := &bringUp{engine: e, live: l, session: s, done: make(chan struct{}), began: time.Now()}
	if b.lost = s.Revivable; b.lost {
		b.old = deref(s.ContainerID)
	}
	return b
}

// begin starts a bring-up. The error is ErrStopping; the next start goes on with it.
func (e *Engine) begin(b *bringUp) error {
	b.ctx, b.cancel = context.WithCancelCause(e.ctx)
	l := b.live
	l.mu.Lock()
	before := l.bringUp
	l.bringUp = b
	l.mu.Unlock()
	if before != nil {
		before.cancel(db.ErrStale)
	}
	started := e.launch(func(context.Context) {
		defer b.cancel(nil)
		b.run(b.ctx) //nolint:contextcheck // it is the one it is given, with a way to cancel it
	})
	if !started {
		b.cancel(nil)
		b.err = ErrStopping
		close(b.done)
		return ErrStopping
	}
	return nil
}

func (b *bringUp) run(ctx context.Context) {
	e, l := b.engine, b.live
	log := e.cfg.Log.With("session", b.session.ID, "agent", b.session.AgentID)
	b.progress = startProgress(ctx, e.cfg.Store, e.cfg.Clock, b.session, e.cfg.StartTimeout, func() { b.cancel(errStalled) })
	err := b.bringUp(ctx)
	b.progress.stop()
	if err == nil {
		err = b.ready(ctx)
	}
	if err != nil {
		b.err = b.fail(ctx, err)
	}
	l.mu.Lock()
	if l.bringUp == b {
		l.bringUp = nil
	}
	l.mu.Unlock()
	close(b.done)
	l.turnsChanged()
	if err != nil {
		e.letGo(context.WithoutCancel(ctx), l)
		e.cfg.Metrics.SpawnFailed(b.path(), b.failureKind(err))
		log.WarnContext(ctx, "session not ready", "err", b.err)
		return
	}
	e.cfg.Metrics.Spawned(b.path(), time.Since(b.began))
	log.InfoContext(ctx, "session ready", "duration", time.Since(b.began).Round(time.Microsecond*100), "warm", b.warm != nil)
	e.work(l)
}

func (b *bringUp) path() metrics.Path {
	if b.warm != nil {
		return metrics.Warm
	}
	return metrics.Cold
}

// failureKind is why a bring-up failed, as metrics tell it.
func (b *bringUp) failureKind(err error) metrics.Failure {
	switch {
	case errors.Is(err, sandbox.ErrUnavailable):
		return metrics.FailureDocker
	case errors.Is(err, sandbox.ErrNoImage) || errors.Is(err, sandbox.ErrPull):
		return metrics.FailureImagePull
	case errors.Is(err, errStalled):
		return metrics.FailureHarnessTimeout
	case b.conn == nil:
		return metrics.FailureContainer
	}
	return metrics.FailureUnknown
}

// bringUp makes the sandbox and its harness session.
func (b *bringUp) bringUp(ctx context.Context) error {
	var err error
	if b.agent, err = b.engine.cfg.Store.Agent(ctx, b.session.AgentID); err != nil {
		return err
	}
	if b.session.Generation > 1 {
		if err := b.engine.settle(ctx, b.session.ID); err != nil {
			return err
		}
	}
	fresh, err := b.sandbox(ctx)
	if err != nil {
		return err
	}
	err = b.conn.explain(b.handshake(ctx, fresh))
	if err == nil || b.warm == nil || b.client == b.conn.current() || ctx.Err() != nil {
		return err
	}
	b.engine.cfg.Log.InfoContext(ctx, "warm sandbox has died and is replaced", "session", b.session.ID, "err", err)
	b.conn.close()
	b.warm = nil
	if err := b.replace(ctx); err != nil {
		return err
	}
	return b.conn.explain(b.handshake(ctx, true))
}

// sandbox makes sure that there is a sandbox with a guest that waits to be booted. fresh
// is false when it has the session's files already.
func (b *bringUp) sandbox(ctx context.Context) (fresh bool, err error) {
	if b.warm != nil {
		if b.client = b.warm.client(); b.client != nil {
			b.conn, b.session.ContainerID = b.warm.conn, &b.warm.conn.containerID
			return true, nil
		}
		b.warm.conn.close()
		b.warm = nil // it has died since
	}
	if b.old != "" {
		err := b.startAgain(ctx)
		if err == nil {
			return false, nil
		}
		if ctx.Err() != nil || errors.Is(err, sandbox.ErrUnavailable) {
			return false, err
		}
		b.engine.cfg.Log.InfoContext(ctx, "sandbox cannot be started again and is replaced", "session", b.session.ID, "err", err)
		b.old = ""
	}
	return true, b.replace(ctx)
}

// replace makes a sandbox in place of those that the session had.
func (b *bringUp) replace(ctx context.Context) error {
	if err := b.engine.removeSandboxes(ctx, b.session.ID, b.session.Generation, ""); err != nil {
		b.engine.cfg.Log.WarnContext(ctx, "old sandbox not removed, the next reconcile tries again", "session", b.session.ID, "err", err)
	}
	return b.cold(ctx)
}

// cold makes a sandbox from its image.
func (b *bringUp) cold(ctx context.Context) error {
	e, s := b.engine, &b.session
	image, err := e.image(b.agent)
	if err != nil {
		return err
	}
	b.progress.set("creating_sandbox", "")
	if err := e.cfg.Runtime.Ensure(ctx, image, func(detail string) { b.progress.set("creating_sandbox", detail) }); err != nil {
		return err
	}
	spec := sandbox.Spec{Session: s.ID, Agent: b.agent.ID, Generation: s.Generation, Image: image, Limits: e.cfg.Limits}
	if err := e.cfg.Store.PlanSandbox(ctx, db.Sandbox{Name: spec.Name(), SessionID: s.ID, AgentID: b.agent.ID, Generation: s.Generation}); err != nil {
		return err
	}
	id, err := e.cfg.Runtime.Create(ctx, spec)
	if err != nil {
		return err
	}
	if err := e.cfg.Store.SandboxMade(ctx, spec.Name(), id); err != nil { // its row may be gone already
		return errors.Join(err, e.cfg.Runtime.Remove(context.WithoutCancel(ctx), id))
	}
	s.ContainerID = &id
	b.progress.set("pod_pending", "")
	return b.start(ctx, id)
}

// start runs the guest of a sandbox and connects to it.
func (b *bringUp) start(ctx context.Context, id string) error {
	raw, err := b.engine.cfg.Runtime.Start(ctx, id)
	if err != nil {
		return err
	}
	b.progress.set("pod_running", "")
	b.conn = newConnection(b.session.ID, id)
	b.client, err = b.engine.connect(b.conn, raw)
	return err
}

// startAgain starts the sandbox that the session had, or finds it running with a guest
// that was not booted.
func (b *bringUp) startAgain(ctx context.Context) error {
	e, s := b.engine, &b.session
	d, err := e.cfg.Runtime.Inspect(ctx, b.old)
	if err != nil {
		return err
	}
	if err := e.cfg.Store.AdoptSandbox(ctx, s.ID, s.Generation, b.old); err != nil {
		return err
	}
	b.progress.set("pod_pending", "")
	if d.Running() {
		b.conn = newConnection(s.ID, b.old)
		if err = e.cfg.Runtime.Unpause(ctx, b.old); err == nil {
			b.client, err = e.client(ctx, b.conn, nil)
		}
	} else {
		err = b.start(ctx, b.old)
	}
	if err != nil {
		return err
	}
	h, err := guestHealth(ctx, b.client)
	switch {
	case err != nil || h.Session == "":
	case h.Session == s.ID: // an attempt before this one came so far
		b.booted = h.Guest
	default:
		err = fmt.Errorf("its guest runs session %s", h.Session)
	}
	if err != nil {
		b.conn.close()
		return err
	}
	s.ContainerID = &b.old
	return nil
}

// handshake gives a sandbox the session's files, boots its guest and creates the harness
// session.
func (b *bringUp) handshake(ctx context.Context, fresh bool) error {
	e, s := b.engine, &b.session
	b.warnings = nil
	env := b.sessionEnv(ctx)
	b.env = env
	boot, token, err := e.compose(ctx, b.agent, *s, env)
	if err != nil {
		return err
	}
	if err := e.cfg.Store.SetProgressToken(ctx, s.ID, s.Generation, tokenHash(token)); err != nil {
		return err
	}
	if fresh {
		if err := b.repositories(ctx, env); err != nil {
			return err
		}
	}
	if b.warm == nil {
		b.progress.set("waiting_harness", "")
	}
	guest := b.booted
	if guest == "" {
		if guest, err = bootGuest(ctx, b.client, boot.Boot, b.progress.set); err != nil {
			return err
		}
	}
	b.progress.set("harness_ready", "")
	title := "default"
	if s.Title != nil {
		title = *s.Title
	}
	id, err := createSession(ctx, b.client, title, boot.prompt, boot.Boot)
	if err != nil {
		return err
	}
	s.HarnessSessionID, s.GuestID = &id, &guest
	return nil
}

// sessionEnv returns the session's own variables, and warns of those that are lost.
func (b *bringUp) sessionEnv(ctx context.Context) map[string]string {
	b.live.mu.Lock()
	env := b.live.env
	b.live.mu.Unlock()
	if env == nil && b.old != "" && len(b.session.EnvNames) > 0 {
		var err error
		if env, err = b.engine.bootedEnv(ctx, b.client, b.session.ID, b.session.EnvNames); err == nil {
			b.live.setEnv(env)
		} else {
			b.engine.cfg.Log.WarnContext(ctx, "the session's own env_vars are lost", "session", b.session.ID, "err", err)
		}
	}
	var missing []string
	for _, name := range b.session.EnvNames {
		if _, ok := env[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		b.warnings = append(b.warnings, "the session's own env_vars "+strings.Join(missing, ", ")+
			" are not stored and were lost with its sandbox: restart the session with env_vars to set them again")
	}
	return env
}

// ready marks the session as ready, with its sandbox.
func (b *bringUp) ready(ctx context.Context) error {
	e, s := b.engine, &b.session
	times := b.progress.times()
	err := e.cfg.Store.MarkReady(ctx, s.ID, s.Generation, db.Readiness{
		HarnessSessionID: *s.HarnessSessionID, GuestID: *s.GuestID, Timings: timings(times),
		Warnings: append(append([]string{}, e.warnings(b.agent, *s, b.env)...), b.warnings...), // those of before are over
	})
	if err != nil {
		return err
	}
	for phase, d := range times {
		e.cfg.Metrics.Phase(phase, d)
	}
	s.Status = db.StatusReady
	_, err = e.boxOf(b.live, *s, b.conn)                            //nolint:contextcheck // following outlives who begins it
	if errors.Is(err, ErrStopping) || errors.Is(err, errReplaced) { // ready it was; now lap stops, or the session has ended
		return nil
	}
	return err
}

// fail undoes a bring-up and notes why it failed, which is what it returns.
func (b *bringUp) fail(ctx context.Context, err error) error {
	e, s := b.engine, &b.session
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		err = cause
	}
	if b.warm != nil {
		b.warm.conn.close()
	}
	if b.conn != nil {
		b.conn.close()
	}
	stopping := e.ctx.Err() != nil
	ctx = context.WithoutCancel(ctx) // what ended it must not keep the row from telling why
	var left *string                 // what may still have the session's files
	if b.old != "" && (stopping || errors.Is(err, sandbox.ErrUnavailable)) {
		left = &b.old
	}
	if removed := e.removeSandboxes(ctx, s.ID, s.Generation, deref(left)); removed != nil && !errors.Is(err, sandbox.ErrUnavailable) {
		e.cfg.Log.ErrorContext(ctx, "sandbox not removed, the next reconcile tries again", "session", s.ID, "err", removed)
	}
	if stopping { // the next start goes on with it
		return ErrStopping
	}
	var mark error
	if b.lost {
		mark = e.cfg.Store.MarkUnreachable(ctx, s.ID, s.Generation, "sandbox unreachable: "+oneLine(err.Error()), left)
	} else {
		mark = e.cfg.Store.MarkFailed(ctx, s.ID, s.Generation, oneLine(err.Error()))
	}
	e.cutEgress(ctx, s.ID)
	if errors.Is(mark, db.ErrStale) { // stopped by its user, or its agent is gone
		return errors.New("the session was stopped")
	}
	if b.lost {
		e.cfg.Metrics.Died(metrics.DeathUnreachable)
	}
	return errors.Join(err, mark)
}

// image is what sandboxes of an agent are made from: the agent's own choice, else the
// operator's, else the harness's.
func (e *Engine) image(agent db.Agent) (string, error) {
	h, ok := sandbox.LookupHarness(agent.HarnessID)
	if !ok || h.Image == "" {
		return "", fmt.Errorf("harness %q cannot run in this version of lap: create the agent with harness_id %q, the built-in agent",
			agent.HarnessID, sandbox.HarnessLap)
	}
	if agent.HarnessImage != nil {
		return *agent.HarnessImage, nil
	}
	if image := e.cfg.Images[h.ID]; image != "" {
		return image, nil
	}
	return h.Image, nil
}
