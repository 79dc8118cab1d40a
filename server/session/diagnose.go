package session

import (
	"context"
	"net/http"
	"sync"
	"time"

	"lap/db"
	"lap/sandbox"
)

const (
	lookTimeout  = 15 * time.Second // for each part of a diagnosis
	probeTimeout = 2 * time.Second  // for its harness
)

// Diagnose looks at a session's sandbox, at everything at once. It changes nothing: it
// neither wakes a frozen sandbox nor brings a lost one back.
func (e *Engine) Diagnose(ctx context.Context, s db.Session) Diagnosis {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	d := Diagnosis{PoolSize: e.cfg.Pool.Size, Notes: map[string]string{}}
	if l := e.find(s.ID); l != nil {
		if s.Status == db.StatusReady {
			l.awaitBringUp(ctx) // one that is ready has its sandbox a moment later
		}
		l.mu.Lock()
		if l.box != nil {
			d.Connected, d.Frozen = l.box.conn.current() != nil, l.box.gate.frozen.Load()
		}
		l.mu.Unlock()
	}
	var (
		looks   sync.WaitGroup
		capture string
	)
	looks.Go(func() {
		var err error
		if d.EngineVersion, err = e.cfg.Runtime.Ping(ctx); err != nil {
			d.EngineError = oneLine(err.Error())
		}
	})
	looks.Go(func() { e.diagnoseContainer(ctx, s, &d) })
	looks.Go(func() { e.diagnoseImage(ctx, s, &d) })
	looks.Go(func() {
		warm, err := e.pool.counts(ctx, s.AgentID)
		if err != nil {
			warm = nil
		}
		d.Warm = warm
	})
	if !d.Frozen {
		looks.Go(func() { d.Harness, capture = e.probe(ctx, s) })
	}
	looks.Wait()
	if d.Frozen {
		d.Notes["frozen"] = "the sandbox is paused, as nothing has used it for a while; the next use wakes it"
	}
	if capture != "" {
		d.Notes["capture"] = "only programs that use the proxy variables have a way out of this sandbox: " + oneLine(capture)
	}
	if s.Revivable {
		d.Notes["revivable"] = "the sandbox was lost; the next message brings the session back"
	}
	return d
}

func (e *Engine) diagnoseContainer(ctx context.Context, s db.Session, d *Diagnosis) {
	if s.ContainerID == nil {
		return
	}
	detail, err := e.cfg.Runtime.Inspect(ctx, *s.ContainerID)
	if err != nil {
		d.ContainerErr = oneLine(err.Error())
		return
	}
	d.Container = &detail
}

func (e *Engine) diagnoseImage(ctx context.Context, s db.Session, d *Diagnosis) {
	agent, err := e.cfg.Store.Agent(ctx, s.AgentID)
	if err == nil {
		d.ImageRef, err = e.image(agent)
	}
	if err == nil {
		img, lookErr := e.cfg.Runtime.Image(ctx, d.ImageRef)
		if err = lookErr; err == nil {
			d.Image = &img
		}
	}
	if err != nil {
		d.ImageErr = oneLine(err.Error())
	}
}

// probe asks a session's harness for its sessions, and its guest why programs that know no
// proxy have no way out; "" when they have.
func (e *Engine) probe(ctx context.Context, s db.Session) (found *HarnessProbe, capture string) {
	l := e.find(s.ID)
	if l == nil || s.Status != db.StatusReady {
		return nil, ""
	}
	l.mu.Lock()
	b := l.box
	l.mu.Unlock()
	if b == nil {
		return nil, ""
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	client, err := e.reach(ctx, b)
	if err == nil {
		var h sandbox.Health
		if h, err = guestHealth(ctx, client); err == nil {
			capture = h.Capture
			_, err = call(ctx, client, http.MethodGet, "/harness/session", nil)
		}
	}
	if err != nil {
		return &HarnessProbe{Error: oneLine(err.Error())}, capture
	}
	return &HarnessProbe{Status: http.StatusOK}, capture
}

// Output returns what a session's sandbox printed last, also after it has ended. The
// error is db.ErrNotFound.
func (e *Engine) Output(ctx context.Context, sessionID string) (string, error) {
	if _, err := e.cfg.Store.SessionState(ctx, sessionID); err != nil {
		return "", err
	}
	if l := e.find(sessionID); l != nil {
		if text := l.output.now(); text != "" {
			return text, nil
		}
	}
	return e.cfg.Store.Output(ctx, sessionID)
}

// awaitBringUp waits for the end of the bring-up that is under way, if there is one.
func (l *live) awaitBringUp(ctx context.Context) {
	l.mu.Lock()
	b := l.bringUp
	l.mu.Unlock()
	if b == nil {
		return
	}
	select {
	case <-b.done:
	case <-ctx.Done():
	}
}
