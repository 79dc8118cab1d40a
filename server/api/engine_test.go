package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/api"
	"lap/server/session"
)

// A fakeEngine keeps sessions in the store and answers messages by itself, unless a test
// does it.
type fakeEngine struct {
	store *db.Store

	mu        sync.Mutex // guards what follows
	asked     []session.NewSession
	turns     []session.Turn
	pending   map[turnKey]*fakePending
	manual    bool // the test answers messages
	logs      map[string][]db.Event
	over      map[string]bool
	news      chan struct{} // closed when there are events
	thread    []json.RawMessage
	fail      error // of messages, and what else a test wants to fail
	ended     []string
	changed   []string
	restarted []map[string]string
	rebound   []map[string][]string // by restarts
	vaultKeys []string
	flush     func() error // nil: nothing to flush
	aborted   []string
	panics    bool
	output    string
	diagnosis session.Diagnosis
	guest     *http.Client // nil: there is no sandbox
	released  int
}

type turnKey struct {
	session string
	seq     int64
}

func newFakeEngine(store *db.Store) *fakeEngine {
	return &fakeEngine{store: store, pending: map[turnKey]*fakePending{}, logs: map[string][]db.Event{}, over: map[string]bool{}, news: make(chan struct{})}
}

func (e *fakeEngine) Create(ctx context.Context, agent db.Agent, in session.NewSession) (db.Session, json.RawMessage, error) {
	e.mu.Lock()
	e.asked = append(e.asked, in)
	e.mu.Unlock()
	made, err := e.store.CreateSession(ctx, db.NewSession{
		AgentID: agent.ID, Title: in.Title, SkillIDs: in.SkillIDs, EnvPlain: in.EnvPlain, EnvHosts: in.EnvHosts, Budget: in.Budget, Once: in.Once,
	})
	return made.Session, made.Again, err
}

func (e *fakeEngine) Stop(ctx context.Context, id string) (db.Session, error) {
	defer e.wake()
	defer e.set(func() { e.over[id] = true })
	return e.store.EndSession(ctx, id)
}

func (e *fakeEngine) Restart(ctx context.Context, id string, env map[string]string, hosts map[string][]string) (db.Session, error) {
	e.mu.Lock()
	e.restarted, e.rebound = append(e.restarted, env), append(e.rebound, hosts)
	fail := e.fail
	e.mu.Unlock()
	if fail != nil {
		return db.Session{}, fail
	}
	claimed, err := e.store.ClaimSession(ctx, id, db.Claim{From: []string{db.StatusReady, db.StatusFailed, db.StatusDead}})
	if errors.Is(err, db.ErrStale) {
		return db.Session{}, session.ErrCreating
	} else if err != nil {
		return db.Session{}, err
	}
	if err := e.store.MarkReady(ctx, id, claimed.Generation, db.Readiness{HarnessSessionID: "harness-2"}); err != nil {
		return db.Session{}, err
	}
	return e.store.Session(ctx, id)
}

func (e *fakeEngine) Abort(ctx context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.aborted = append(e.aborted, id)
	if _, err := e.store.Session(ctx, id); err != nil {
		return err
	}
	return e.fail
}

const defaultReply = `{"info": {"id": "m1"},  "parts": [{"type":"text","text":"<hi>"}], "extra": 1.0}`

func (e *fakeEngine) Begin(ctx context.Context, id string, t session.Turn) (api.Pending, error) {
	s, err := e.store.Session(ctx, id)
	if err != nil {
		return nil, err
	}
	if h, _ := sandbox.LookupHarness(s.HarnessID); h.Kind == sandbox.KindTUI {
		return nil, session.ErrTerminal
	}
	turn, again, err := e.store.AddTurn(ctx, id, db.NewTurn{Parts: json.RawMessage(`[]`), Request: t.Request, Once: t.Once})
	if errors.Is(err, db.ErrStale) {
		return nil, session.ErrNotReady
	} else if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	key := turnKey{id, turn.Seq}
	if again {
		return e.pending[key], nil
	}
	e.turns = append(e.turns, t)
	p := &fakePending{started: make(chan struct{}), over: make(chan struct{})}
	e.pending[key] = p
	if !e.manual {
		p.start(int64(len(e.logs[id])), e.fail)
		p.finish(e.fail)
	}
	return p, nil
}

// A fakePending is a turn that the engine, or a test, starts and finishes.
type fakePending struct {
	started  chan struct{} // closed when what follows is set
	after    int64
	startErr error
	over     chan struct{} // closed when what follows is set
	reply    json.RawMessage
	err      error
}

func (p *fakePending) start(after int64, err error) {
	p.after, p.startErr = after, err
	close(p.started)
}

func (p *fakePending) finish(err error) {
	p.reply, p.err = json.RawMessage(defaultReply), err
	close(p.over)
}

func (p *fakePending) Started(ctx context.Context) (int64, error) {
	select {
	case <-p.started:
		return p.after, p.startErr
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (p *fakePending) Reply(ctx context.Context) (json.RawMessage, error) {
	select {
	case <-p.over:
		return p.reply, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// latest returns the turn that was begun last.
func (e *fakeEngine) latest(id string) *fakePending {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pending[turnKey{id, int64(len(e.turns) - 1)}]
}

// emit adds events to a session's log, each given as its type or as its body.
func (e *fakeEngine) emit(tb testing.TB, id string, events ...string) {
	tb.Helper()
	s, err := e.store.Session(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	in := db.Batch{SessionID: id, Generation: s.Generation}
	for _, text := range events {
		if text[0] != '{' {
			text = `{"type":"` + text + `","properties":{"sessionID":"harness-1"}}`
		}
		var frame struct{ Type string }
		if err := json.Unmarshal([]byte(text), &frame); err != nil {
			tb.Fatal(err)
		}
		in.Events = append(in.Events, db.NewEvent{Type: frame.Type, Body: json.RawMessage(text)})
	}
	last, err := e.store.Append(tb.Context(), in)
	if err != nil {
		tb.Fatal(err)
	}
	e.mu.Lock()
	for i, ev := range in.Events {
		seq := last - int64(len(in.Events)) + 1 + int64(i)
		e.logs[id] = append(e.logs[id], db.Event{Seq: seq, Type: ev.Type, Body: ev.Body, At: time.Unix(0, 0)})
	}
	e.mu.Unlock()
	e.wake()
}

// wake lets every feed look again.
func (e *fakeEngine) wake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.news)
	e.news = make(chan struct{})
}

func (e *fakeEngine) Feed(ctx context.Context, id string, after int64) (api.Feed, error) {
	if _, err := e.store.Session(ctx, id); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fail != nil {
		return nil, e.fail
	}
	if after < 0 {
		after = int64(len(e.logs[id]))
	}
	return &fakeFeed{engine: e, session: id, after: after}, nil
}

// A fakeFeed reads at most a few events at a time.
type fakeFeed struct {
	engine  *fakeEngine
	session string
	after   int64
}

func (f *fakeFeed) After() int64 { return f.after }

func (f *fakeFeed) Next(ctx context.Context) ([]db.Event, error) {
	for {
		f.engine.mu.Lock()
		list, news, over := f.engine.logs[f.session][f.after:], f.engine.news, f.engine.over[f.session]
		f.engine.mu.Unlock()
		if len(list) > 0 {
			list = slices.Clone(list[:min(3, len(list))])
			f.after = list[len(list)-1].Seq
			return list, nil
		}
		if over {
			return nil, session.ErrEnded
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
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

func (e *fakeEngine) Sandbox(ctx context.Context, id string) (*http.Client, func(), error) {
	s, err := e.store.Session(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case s.Status != db.StatusReady:
		return nil, nil, session.ErrNotReady
	case e.fail != nil:
		return nil, nil, e.fail
	}
	return e.guest, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.released++
	}, nil
}

func (e *fakeEngine) Output(context.Context, string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.output, e.fail
}

func (e *fakeEngine) Diagnose(context.Context, db.Session) session.Diagnosis {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.diagnosis
}

func (e *fakeEngine) Phase(ctx context.Context, id, token, phase, detail string) (bool, error) {
	s, err := e.store.Session(ctx, id)
	digest := sha256.Sum256([]byte(token))
	if err != nil || s.ProgressToken == nil || *s.ProgressToken != hex.EncodeToString(digest[:]) {
		return false, session.ErrToken
	}
	err = e.store.SetPhase(ctx, id, s.Generation, phase, detail, time.Now().Add(time.Hour))
	if errors.Is(err, db.ErrStale) {
		return false, nil
	}
	return err == nil, err
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

func (e *fakeEngine) Changed(agentID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changed = append(e.changed, agentID)
}

func (e *fakeEngine) VaultKeys(context.Context, db.Session) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.vaultKeys, e.fail
}

func (e *fakeEngine) Advice(agent db.Agent) []string {
	if agent.Env["ADVISED"] != "" {
		return []string{"ADVISED is bound to no host"}
	}
	return nil
}

func (e *fakeEngine) FlushEgress(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.flush == nil {
		return nil
	}
	return e.flush()
}

// last returns what the latest session was asked for with.
func (e *fakeEngine) last() session.NewSession {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked[len(e.asked)-1]
}

// turn returns the latest user turn.
func (e *fakeEngine) turn() session.Turn {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.turns[len(e.turns)-1]
}

// sent returns how many user turns there were.
func (e *fakeEngine) sent() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.turns)
}

// answer sets what messages and Messages answer next.
func (e *fakeEngine) answer(thread []json.RawMessage, fail error) {
	e.set(func() { e.thread, e.fail = thread, fail })
}

// set changes what the engine does.
func (e *fakeEngine) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}
