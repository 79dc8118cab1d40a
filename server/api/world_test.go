package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"lap/db"
	"lap/server/api"
)

const (
	masterKey = "test-master-key"
	tokenKey  = "0123456789abcdef"
	managed   = "/api/v1/managed_agents"
	agents    = managed + "/agents"
	sessions  = managed + "/sessions"
	skills    = "/api/v1/skills"
	fixtures  = "/api/v1/fixture"
	noID      = "00000000-0000-4000-8000-000000000000"
)

// A world is an API on a real database, served over HTTP, with a fake engine.
type world struct {
	store  *db.Store
	engine *fakeEngine
	api    *api.API
	url    string
	path   string // of the database
	log    *syncBuffer
	clock  *clock
}

// newWorld starts a world whose clock and ids are fixed. The functions may change what
// it is made with.
func newWorld(tb testing.TB, tweaks ...func(*api.Config)) *world {
	tb.Helper()
	w := &world{
		path: filepath.Join(tb.TempDir(), "lap.db"), log: &syncBuffer{},
		clock: &clock{now: time.Date(2026, 1, 15, 10, 7, 30, 0, time.UTC)},
	}
	w.store = openStore(tb, w.path, w.clock, bytes.Repeat([]byte{1}, db.KeySize))
	w.engine = newFakeEngine(w.store)
	server := httptest.NewUnstartedServer(nil)
	cfg := api.Config{
		Store: w.store, Engine: w.engine, MasterKey: masterKey, TokenKey: []byte(tokenKey),
		Listen: server.Listener.Addr().String(), BaseURL: "http://lap.test", IdleTimeout: 24 * time.Hour,
		Log: w.logger(),
		Now: w.clock.Now, NewID: w.clock.NewID,
	}
	for _, tweak := range tweaks {
		tweak(&cfg)
	}
	w.api = api.New(cfg)
	server.Config.Handler = w.api.Handler()
	server.Start()
	tb.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *world) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// serve returns w as another handler serves it.
func (w *world) serve(tb testing.TB, h http.Handler) *world {
	tb.Helper()
	server := httptest.NewServer(h)
	tb.Cleanup(server.Close)
	other := *w
	other.url = server.URL
	return &other
}

func openStore(tb testing.TB, path string, c *clock, key []byte) *db.Store {
	tb.Helper()
	store := openAnyStore(tb, path, c, key)
	tb.Cleanup(func() {
		if err := store.Close(); err != nil {
			tb.Error(err)
		}
	})
	return store
}

// closedStore is a store that answers nothing any more.
func closedStore(tb testing.TB) *db.Store {
	tb.Helper()
	store := openAnyStore(tb, filepath.Join(tb.TempDir(), "lap.db"), &clock{}, make([]byte, db.KeySize))
	if err := store.Close(); err != nil {
		tb.Fatal(err)
	}
	return store
}

func openAnyStore(tb testing.TB, path string, c *clock, key []byte) *db.Store {
	tb.Helper()
	sealer, err := db.NewSealer(key)
	if err != nil {
		tb.Fatal(err)
	}
	store, err := db.Open(tb.Context(), db.Config{Path: path, Schema: schema(tb), Sealer: sealer, Now: c.Now, NewID: c.NewID})
	if err != nil {
		tb.Fatal(err)
	}
	return store
}

func schema(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile("../../schema.sql")
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// A clock hands out times a second apart and ids that count up.
type clock struct {
	mu  sync.Mutex // guards what follows
	now time.Time
	ids int
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Second)
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) NewID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", c.ids)
}

type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A response is what the server answered, read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

// get returns a value of the body by its gjson path.
func (r response) get(path string) gjson.Result { return gjson.Get(r.body, path) }

// do sends a request with the master key. body is sent as it is when it is a string,
// else as JSON; nil is no body.
func (w *world) do(tb testing.TB, method, path string, body any) response {
	tb.Helper()
	return w.send(tb, method, path, body, map[string]string{"Authorization": "Bearer " + masterKey})
}

// send sends a request with the given headers; Host is one of them.
func (w *world) send(tb testing.TB, method, path string, body any, header map[string]string) response {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, w.url+path, reader(tb, body))
	if err != nil {
		tb.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	if host, ok := header["Host"]; ok {
		req.Host = host
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	out := response{status: res.StatusCode, header: res.Header, body: string(text)}
	checkError(tb, out)
	if strings.HasSuffix(out.body, "\n") && out.header.Get("Content-Type") == "application/json" {
		tb.Errorf("%s %s: the reply ends with a newline", method, path)
	}
	return out
}

func reader(tb testing.TB, body any) io.Reader {
	tb.Helper()
	switch body := body.(type) {
	case nil:
		return nil
	case string:
		return strings.NewReader(body)
	default:
		text, err := json.Marshal(body)
		if err != nil {
			tb.Fatal(err)
		}
		return bytes.NewReader(text)
	}
}

// checkError makes sure that every error of every test has the one shape of errors.
func checkError(tb testing.TB, r response) {
	tb.Helper()
	if r.status < 400 || r.status == http.StatusMethodNotAllowed && r.body == "" { // HEAD
		return
	}
	if r.get("ok").Type == gjson.False && r.get("error").Exists() { // a health report has more
		return
	}
	var body map[string]string
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || len(body) != 1 || body["error"] == "" {
		tb.Errorf("error body of %d = %s, want {\"error\": text}", r.status, r.body)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		tb.Errorf("content type of an error = %q", got)
	}
}

// want fails the test unless the status is as given.
func (r response) want(tb testing.TB, status int) response {
	tb.Helper()
	if r.status != status {
		tb.Fatalf("status = %d, want %d: %s", r.status, status, r.body)
	}
	return r
}

// wantError fails the test unless the answer is an error whose text contains all of
// the phrases.
func (r response) wantError(tb testing.TB, status int, phrases ...string) {
	tb.Helper()
	r.want(tb, status)
	for _, phrase := range phrases {
		if !strings.Contains(r.get("error").String(), phrase) {
			tb.Errorf("error = %q, want it to contain %q", r.get("error"), phrase)
		}
	}
}

// newAgent creates an agent of the built-in harness and returns its id. further are
// members of the request, as in `"name": "x"`.
func (w *world) newAgent(tb testing.TB, further ...string) string {
	tb.Helper()
	body := "{" + strings.Join(append([]string{`"model": "gpt", "harness_id": "lap"`}, further...), ", ") + "}"
	return w.do(tb, "POST", agents, body).want(tb, http.StatusCreated).get("id").String()
}

// newSession creates a session of an agent, makes it ready, and returns its id.
func (w *world) newSession(tb testing.TB, agentID string) string {
	tb.Helper()
	id := w.do(tb, "POST", agents+"/"+agentID+"/session", nil).want(tb, http.StatusCreated).get("id").String()
	w.makeReady(tb, id)
	return id
}

// makeReady makes a session ready that is creating for the first time.
func (w *world) makeReady(tb testing.TB, id string) {
	tb.Helper()
	if err := w.store.MarkReady(tb.Context(), id, 1, db.Readiness{HarnessSessionID: "harness-1"}); err != nil {
		tb.Fatal(err)
	}
}

// giveContainer notes a container for a session that is creating.
func (w *world) giveContainer(tb testing.TB, id, container string) {
	tb.Helper()
	s, err := w.store.Session(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	box := db.Sandbox{Name: container, SessionID: id, AgentID: s.AgentID, Generation: s.Generation}
	if err := w.store.PlanSandbox(tb.Context(), box); err != nil {
		tb.Fatal(err)
	}
	if err := w.store.SandboxMade(tb.Context(), container, container); err != nil {
		tb.Fatal(err)
	}
}

// addTurn stores a turn of a ready session, with its end unless that has no status.
func (w *world) addTurn(tb testing.TB, id string, turn db.NewTurn, end db.TurnEnd) {
	tb.Helper()
	if turn.Parts == nil {
		turn.Parts = json.RawMessage(`[]`)
	}
	s, err := w.store.Session(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	row, _, err := w.store.AddTurn(tb.Context(), id, turn)
	if err != nil {
		tb.Fatal(err)
	}
	if end.Status == "" {
		return
	}
	if _, err := w.store.SendTurn(tb.Context(), id, s.Generation, row.Seq); err != nil {
		tb.Fatal(err)
	}
	end.Seq = row.Seq
	if _, err := w.store.Append(tb.Context(), db.Batch{SessionID: id, Generation: s.Generation, Ends: []db.TurnEnd{end}}); err != nil {
		tb.Fatal(err)
	}
}

// newSkill creates a skill and returns its id.
func (w *world) newSkill(tb testing.TB, name, content string) string {
	tb.Helper()
	return w.do(tb, "POST", skills, map[string]string{"name": name, "content": content}).want(tb, http.StatusCreated).get("id").String()
}

func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}
