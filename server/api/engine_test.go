package api_test

import (
	"context"
	"encoding/json"
	"sync"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

// A fakeEngine keeps sessions in the store and answers messages by itself.
type fakeEngine struct {
	store *db.Store

	mu     sync.Mutex // guards what follows
	asked  []session.NewSession
	turns  [][]json.RawMessage
	thread []json.RawMessage
	fail   error // of Message and Messages
	ended  []string
	panics bool
}

func (e *fakeEngine) Create(ctx context.Context, agent db.Agent, in session.NewSession) (db.Session, error) {
	e.mu.Lock()
	e.asked = append(e.asked, in)
	e.mu.Unlock()
	return e.store.CreateSession(ctx, db.NewSession{AgentID: agent.ID, Title: in.Title, SkillIDs: in.SkillIDs, EnvPlain: in.EnvPlain})
}

func (e *fakeEngine) Stop(ctx context.Context, id string) (db.Session, error) {
	return e.store.EndSession(ctx, id)
}

func (e *fakeEngine) Message(ctx context.Context, id string, parts []json.RawMessage) (json.RawMessage, error) {
	s, err := e.store.Session(ctx, id)
	if err != nil {
		return nil, err
	}
	if h, _ := sandbox.LookupHarness(s.HarnessID); h.Kind == sandbox.KindTUI {
		return nil, session.ErrTerminal
	}
	if s.Status != db.StatusReady {
		return nil, session.ErrNotReady
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.turns = append(e.turns, parts)
	return json.RawMessage(`{"info": {"id": "m1"},  "parts": [{"type":"text","text":"<hi>"}], "extra": 1.0}`), e.fail
}

func (e *fakeEngine) Messages(ctx context.Context, id string) ([]json.RawMessage, error) {
	if _, err := e.store.Session(ctx, id); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.panics {
		panic("the engine panics")
	}
	return e.thread, e.fail
}

func (e *fakeEngine) DeleteAgent(ctx context.Context, agentID string) error {
	live, err := e.store.LiveSessions(ctx, agentID)
	if err != nil {
		return err
	}
	for _, s := range live {
		if _, err := e.store.EndSession(ctx, s.ID); err != nil {
			return err
		}
		e.mu.Lock()
		e.ended = append(e.ended, s.ID)
		e.mu.Unlock()
	}
	return e.store.DeleteAgent(ctx, agentID)
}

// last returns what the latest session was asked for with.
func (e *fakeEngine) last() session.NewSession {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked[len(e.asked)-1]
}

// turn returns the latest user turn.
func (e *fakeEngine) turn() []json.RawMessage {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.turns[len(e.turns)-1]
}

// answer sets what Message and Messages answer next.
func (e *fakeEngine) answer(thread []json.RawMessage, fail error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.thread, e.fail = thread, fail
}
