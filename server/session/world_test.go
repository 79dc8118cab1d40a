package session_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/clock"
	"lap/db"
	"lap/sandbox"
	"lap/sandbox/vault"
	"lap/server/metrics"
	"lap/server/session"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// A world is an engine on a fake runtime and a real store.
type world struct {
	*session.Engine
	store   *db.Store
	runtime *fakeRuntime
	clock   *clock.Clock
	sealer  *db.Sealer
	path    string  // of the database
	file    *sql.DB // the same, past the store
	config  session.Config
	agent   db.Agent
	stop    func()
}

// newWorld starts an engine. change, which may be nil, changes its configuration. When
// the test ends, all that the engine did is checked, and that it left no goroutine.
func newWorld(tb testing.TB, change func(*session.Config)) *world {
	tb.Helper()
	if _, ok := tb.(*testing.T); ok { // fuzzing has its own
		goroutines := runtime.NumGoroutine()
		tb.Cleanup(func() { awaitGoroutines(tb, goroutines) })
	}
	w := &world{path: filepath.Join(tb.TempDir(), "lap.db"), runtime: newFakeRuntime(tb), clock: clock.New()}
	w.openStore(tb)
	var err error
	if w.agent, err = w.store.CreateAgent(tb.Context(), db.Agent{Model: "vendor/model", HarnessID: sandbox.HarnessLap, Branch: "main"}); err != nil {
		tb.Fatal(err)
	}
	w.config = session.Config{
		Store: w.store, Runtime: w.runtime, BaseURL: "https://lap.example.com", Metrics: metrics.New(),
		Gateway: http.NotFoundHandler(), Platform: func(string, string) http.Handler { return http.NotFoundHandler() },
		Clock: w.clock, StartTimeout: time.Minute, TurnTimeout: time.Minute, Reconcile: time.Hour, Log: logger(),
		Sealer: w.sealer, StubKey: make([]byte, 32), Egress: session.EgressConfig{Network: &vault.Network{}},
	}
	if change != nil {
		change(&w.config)
	}
	if w.file, err = sql.Open("sqlite", "file:"+w.path+"?_pragma=busy_timeout(5000)"); err != nil {
		tb.Fatal(err)
	}
	w.audit(tb)
	w.start(tb)
	tb.Cleanup(func() {
		w.stop()
		w.runtime.close()
		w.checkAudit(tb)
		if err := errors.Join(w.file.Close(), w.store.Close()); err != nil {
			tb.Error(err)
		}
	})
	return w
}

// logger discards, unless LAP_TEST_LOG is set.
func logger() *slog.Logger {
	if os.Getenv("LAP_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (w *world) openStore(tb testing.TB) {
	tb.Helper()
	var err error
	if w.sealer, err = db.NewSealer(make([]byte, db.KeySize)); err != nil {
		tb.Fatal(err)
	}
	w.store, err = db.Open(tb.Context(), db.Config{Path: w.path, Schema: schema(tb), Sealer: w.sealer, Now: w.clock.Now})
	if err != nil {
		tb.Fatal(err)
	}
}

func schema(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile("../../schema.sql")
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// awaitGoroutines fails the test if there are more goroutines than there were, for long.
func awaitGoroutines(tb testing.TB, want int) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > want; <-tick.C {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			tb.Errorf("%d goroutines, want %d:\n%s", runtime.NumGoroutine(), want, stacks[:runtime.Stack(stacks, true)])
			return
		}
	}
}

// start starts an engine, as a new process would.
func (w *world) start(tb testing.TB) {
	tb.Helper()
	w.Engine = session.New(tb.Context(), w.config)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	if err := w.Recover(ctx); err != nil {
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	e := w.Engine
	go func() { done <- e.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			tb.Errorf("Run: %v", err)
		}
	})
}

// restart stops the engine and starts another.
func (w *world) restart(tb testing.TB) {
	tb.Helper()
	w.stop()
	w.start(tb)
}

// create asks for a session.
func (w *world) create(tb testing.TB, in session.NewSession) db.Session {
	tb.Helper()
	s, _, err := w.Create(tb.Context(), w.agent, in)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// ready is a session that takes messages.
func (w *world) ready(tb testing.TB) db.Session {
	tb.Helper()
	return w.await(tb, w.create(tb, session.NewSession{}).ID, db.StatusReady)
}

// await waits until a session is not creating any more, and returns it.
func (w *world) await(tb testing.TB, id, status string) db.Session {
	tb.Helper()
	s := w.until(tb, id, func(s db.Session) bool { return s.Status != db.StatusCreating })
	if s.Status != status {
		tb.Fatalf("session is %s (%v), want %s", s.Status, deref(s.FailureReason), status)
	}
	return s
}

// until waits until a session is as ok says, and returns it.
func (w *world) until(tb testing.TB, id string, ok func(db.Session) bool) (s db.Session) {
	tb.Helper()
	eventually(tb, func() error {
		var err error
		if s, err = w.store.Session(tb.Context(), id); err != nil {
			tb.Fatal(err)
		}
		if !ok(s) {
			return fmt.Errorf("the session is %+v", s)
		}
		return nil
	})
	return s
}

// session is a row as it is now.
func (w *world) session(tb testing.TB, id string) db.Session {
	tb.Helper()
	s, err := w.store.Session(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// eventually waits until check has no objection.
func eventually(tb testing.TB, check func() error) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("after %s: %v", patience, err)
		}
	}
}

// receive takes a value that must come.
func receive[T any](tb testing.TB, c <-chan T) T {
	tb.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			tb.Fatal("the channel is closed")
		}
		return v
	case <-time.After(patience):
		stacks := make([]byte, 1<<20)
		tb.Fatalf("nothing came within %s:\n%s", patience, stacks[:runtime.Stack(stacks, true)])
		panic("unreachable")
	}
}

// An answer is what a call of Message brought.
type answer struct {
	reply json.RawMessage
	err   error
}

// send sends a message and returns at once.
func (w *world) send(ctx context.Context, id, what string) <-chan answer {
	c := make(chan answer, 1)
	e := w.Engine
	go func() {
		reply, err := e.Message(ctx, id, text(what))
		c <- answer{reply, err}
	}()
	return c
}

// say sends a message and wants it echoed.
func (w *world) say(tb testing.TB, id, what string) {
	tb.Helper()
	a := receive(tb, w.send(tb.Context(), id, what))
	if a.err != nil || !strings.Contains(string(a.reply), what) {
		tb.Fatalf("message %q was answered with %s, %v", what, a.reply, a.err)
	}
}

// ask sends a message and wants an answer.
func (w *world) ask(tb testing.TB, id, what string) {
	tb.Helper()
	if a := receive(tb, w.send(tb.Context(), id, what)); a.err != nil {
		tb.Fatalf("message %q was answered with %v", what, a.err)
	}
}

// begin accepts a turn.
func (w *world) begin(tb testing.TB, id, what string) *session.Pending {
	tb.Helper()
	p, err := w.Begin(tb.Context(), id, session.Turn{Parts: text(what)})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// turns are the stored turns of a session, as "status text" lines.
func (w *world) turns(tb testing.TB, id string) string {
	tb.Helper()
	turns, err := w.store.Turns(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	var all []string
	for _, t := range turns {
		all = append(all, t.Status+" "+lastText(t.Parts))
	}
	return strings.Join(all, "\n")
}

// turn is one stored turn.
func (w *world) turn(tb testing.TB, id string, seq int64) db.Turn {
	tb.Helper()
	t, err := w.store.Turn(tb.Context(), id, seq)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// awaitTurns waits until the turns of a session are as wanted.
func (w *world) awaitTurns(tb testing.TB, id, want string) {
	tb.Helper()
	eventually(tb, func() error {
		if got := w.turns(tb, id); got != want {
			return fmt.Errorf("turns:\n%s\nwant:\n%s", got, want)
		}
		return nil
	})
}

// said is the thread of a session, as "role: text" lines.
func (w *world) said(tb testing.TB, id string) string {
	tb.Helper()
	messages, err := w.Messages(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	var lines []string
	for _, raw := range messages {
		var m struct {
			Info  struct{ Role string }
			Parts json.RawMessage
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			tb.Fatalf("message %s: %v", raw, err)
		}
		lines = append(lines, m.Info.Role+": "+lastText(m.Parts))
	}
	return strings.Join(lines, "\n")
}

// awaitSaid waits until the thread of a session is as wanted.
func (w *world) awaitSaid(tb testing.TB, id, want string) {
	tb.Helper()
	eventually(tb, func() error {
		if got := w.said(tb, id); got != want {
			return fmt.Errorf("thread:\n%s\nwant:\n%s", got, want)
		}
		return nil
	})
}

// lastText is the text of the last of some parts.
func lastText(raw json.RawMessage) string {
	var parts []struct{ Text string }
	if json.Unmarshal(raw, &parts) != nil || len(parts) == 0 {
		return string(raw)
	}
	return parts[len(parts)-1].Text
}

// query runs a query on the database, past the store, and returns the rows as lines.
func (w *world) query(tb testing.TB, text string, args ...any) []string {
	tb.Helper()
	rows, err := w.file.QueryContext(context.WithoutCancel(tb.Context()), text, args...)
	if err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		tb.Fatal(err)
	}
	var lines []string
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			tb.Fatal(err)
		}
		var line []string
		for _, v := range values {
			line = append(line, v.String)
		}
		lines = append(lines, strings.Join(line, " "))
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return lines
}

func text(s string) []json.RawMessage {
	return []json.RawMessage{json.RawMessage(fmt.Sprintf(`{"type":"text","text":%s}`, quote(s)))}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
