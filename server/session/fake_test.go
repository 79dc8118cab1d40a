package session_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/sandbox/pipe"
	"lap/server/session"
)

// A fakeRuntime runs guests inside the test: real pipes, a harness of a few lines.
type fakeRuntime struct {
	t *testing.T

	mu     sync.Mutex // guards boxes and fail
	boxes  map[string]*fakeBox
	fail   map[string]error         // by step: ensure, create, start, dial
	before map[string]chan struct{} // a step waits until its channel is closed

	turn   func(text string) (status int, body string) // the harness; guarded by mu too
	broken bool                                        // pipes end at once
	abort  func()                                      // what an abort does; guarded by mu too
	steps  int                                         // messages that one turn adds to the thread
}

type fakeBox struct {
	sandbox.Info
	boot   sandbox.Boot
	turns  []string // texts, in the order in which the harness saw them
	thread []string // text of each message
	aborts int
	parts  []int  // how many each turn had
	model  string // of the last turn
	pipes  []*pipe.Guest
}

func newFakeRuntime(t *testing.T) *fakeRuntime {
	t.Helper()
	return &fakeRuntime{
		t: t, steps: 1, boxes: map[string]*fakeBox{}, fail: map[string]error{}, before: map[string]chan struct{}{},
		turn: func(text string) (int, string) {
			return 200, fmt.Sprintf(`{"info":{"id":"REPLY","role":"assistant"},"parts":[{"type":"text","text":%q}]}`, text)
		},
	}
}

// step waits for its gate, if it has one, and fails if it is to.
func (r *fakeRuntime) step(ctx context.Context, name string) error {
	r.mu.Lock()
	gate, err := r.before[name], r.fail[name]
	r.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (r *fakeRuntime) Ensure(ctx context.Context, image string, progress func(string)) error {
	progress("pulling " + image)
	return r.step(ctx, "ensure")
}

func (r *fakeRuntime) Create(ctx context.Context, spec sandbox.Spec) (string, error) {
	if err := r.step(ctx, "create"); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	id := "box-" + spec.Name()
	r.boxes[id] = &fakeBox{Info: sandbox.Info{ID: id, Session: spec.Session, Agent: spec.Agent, Created: time.Now()}}
	return id, nil
}

func (r *fakeRuntime) Start(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	if err := r.step(ctx, "start"); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.boxes[id].Running = true
	r.mu.Unlock()
	return r.open(id)
}

func (r *fakeRuntime) Dial(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	if err := r.step(ctx, "dial"); err != nil {
		return nil, err
	}
	return r.open(id)
}

func (r *fakeRuntime) open(id string) (io.ReadWriteCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	box := r.boxes[id]
	if box == nil || !box.Running {
		return nil, sandbox.ErrGone
	}
	host, guest := net.Pipe()
	if r.broken {
		_ = guest.Close()
		return host, nil
	}
	p, err := pipe.NewGuest(guest)
	if err != nil {
		return nil, err
	}
	box.pipes = append(box.pipes, p)
	srv := &http.Server{Handler: r.guest(box)}
	go func() { _ = srv.Serve(p) }()
	return host, nil
}

// guest is what answers inside a box.
func (r *fakeRuntime) guest(box *fakeBox) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /boot", func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err := json.NewDecoder(req.Body).Decode(&box.boot); err != nil {
			r.t.Error(err)
		}
		if err := r.fail["boot"]; err != nil {
			_ = json.NewEncoder(w).Encode(sandbox.BootEvent{Error: err.Error()})
			return
		}
		_ = json.NewEncoder(w).Encode(sandbox.BootEvent{Done: true})
	})
	mux.HandleFunc("POST /harness/session", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"id":"ses_1"}`) })
	mux.HandleFunc("POST /harness/session/ses_1/message", func(w http.ResponseWriter, req *http.Request) {
		var in struct {
			Model struct{ ModelID string }
			Parts []struct{ Text string }
		}
		if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
			r.t.Error(err)
		}
		text := in.Parts[len(in.Parts)-1].Text
		r.mu.Lock()
		box.turns, box.parts, box.model = append(box.turns, text), append(box.parts, len(in.Parts)), in.Model.ModelID
		for range r.steps {
			box.thread = append(box.thread, text)
		}
		turn, last := r.turn, fmt.Sprintf("msg_%d", len(box.thread)-1)
		r.mu.Unlock()
		status, body := turn(text)
		body = strings.Replace(body, "REPLY", last, 1) // the reply is the thread's newest message
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	mux.HandleFunc("POST /harness/session/ses_1/abort", func(w http.ResponseWriter, _ *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		box.aborts++
		if r.abort != nil {
			r.abort()
		}
		_, _ = io.WriteString(w, "true")
	})
	mux.HandleFunc("GET /harness/session/ses_1/message", func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		var thread []string
		for i, text := range box.thread {
			thread = append(thread, fmt.Sprintf(`{"info":{"id":"msg_%d"},"parts":[{"type":"text","text":%q}]}`, i, text))
		}
		if limit, err := strconv.Atoi(req.URL.Query().Get("limit")); err == nil {
			thread = thread[max(0, len(thread)-limit):]
		}
		_, _ = io.WriteString(w, "["+strings.Join(thread, ",")+"]")
	})
	return mux
}

func (r *fakeRuntime) Remove(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fail["remove"]; err != nil {
		return err
	}
	if box := r.boxes[id]; box != nil {
		for _, p := range box.pipes {
			_ = p.Close()
		}
		delete(r.boxes, id)
	}
	return nil
}

func (r *fakeRuntime) List(context.Context) ([]sandbox.Info, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []sandbox.Info
	for _, box := range r.boxes {
		all = append(all, box.Info)
	}
	return all, r.fail["list"]
}

// set changes what the runtime does, while it runs.
func (r *fakeRuntime) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// answer changes the harness, while it runs.
func (r *fakeRuntime) answer(turn func(text string) (status int, body string)) {
	r.set(func() { r.turn = turn })
}

// count is how many sandboxes there are.
func (r *fakeRuntime) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.boxes)
}

// box is the only sandbox.
func (r *fakeRuntime) box() *fakeBox {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.boxes {
		return b
	}
	r.t.Fatal("no sandbox")
	return nil
}

// A world is an engine on a fake runtime and a real store.
type world struct {
	*session.Engine
	store   *db.Store
	runtime *fakeRuntime
	path    string        // of the database
	limit   time.Duration // of a turn
	agent   db.Agent
	stop    func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := db.NewSealer(make([]byte, db.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "lap.db")
	store, err := db.Open(t.Context(), db.Config{Path: path, Schema: string(schema), Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{store: store, path: path, limit: time.Minute, runtime: newFakeRuntime(t)}
	if w.agent, err = store.CreateAgent(t.Context(), db.Agent{Model: "vendor/model", HarnessID: sandbox.HarnessLap, Branch: "main"}); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	t.Cleanup(func() {
		w.stop()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// start starts an engine, as a new process would.
func (w *world) start(t *testing.T) {
	t.Helper()
	w.Engine = session.New(t.Context(), session.Config{
		Store: w.store, Runtime: w.runtime, BaseURL: "https://lap.example.com",
		Gateway: http.NotFoundHandler(), Platform: func(string, string) http.Handler { return http.NotFoundHandler() },
		StartTimeout: time.Minute, TurnTimeout: w.limit, Reconcile: time.Hour, Log: slog.New(slog.DiscardHandler),
	})
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

// create asks for a session.
func (w *world) create(t *testing.T, in session.NewSession) db.Session {
	t.Helper()
	s, err := w.Create(t.Context(), w.agent, in)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// await waits until a session is in a state and returns it.
func (w *world) await(t *testing.T, id, status string) db.Session {
	t.Helper()
	s := w.until(t, id, func(s db.Session) bool { return s.Status != db.StatusCreating })
	if s.Status != status {
		t.Fatalf("session is %s (%v), want %s", s.Status, deref(s.FailureReason), status)
	}
	return s
}

// until waits until a session is as ok says and returns it.
func (w *world) until(t *testing.T, id string, ok func(db.Session) bool) db.Session {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		s, err := w.store.Session(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("after 10 s the session is %+v", s)
		}
	}
}

// turns is the stored log of a session, as "role status parts" lines.
func (w *world) turns(t *testing.T, id string) string {
	t.Helper()
	file, err := sql.Open("sqlite", w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := file.QueryContext(t.Context(), `SELECT role || ' ' || status || ' ' || parts FROM turns WHERE session_id = ? ORDER BY seq`, id)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		all.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// ready is a session that takes messages.
func (w *world) ready(t *testing.T) db.Session {
	t.Helper()
	return w.await(t, w.create(t, session.NewSession{}).ID, db.StatusReady)
}

func text(s string) []json.RawMessage {
	return []json.RawMessage{json.RawMessage(fmt.Sprintf(`{"type":"text","text":%q}`, s))}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
