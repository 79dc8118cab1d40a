package api_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lapclock "lap/clock"
	"lap/db"
	"lap/sandbox/pipe"
	"lap/server/api"
	faults "lap/server/fault"
	"lap/server/fixture"
	"lap/server/gateway"
)

// A controlledWorld is a world with a fixture, and the model gateway of its sandboxes.
type controlledWorld struct {
	*world
	fixture *fixture.Fixture
	models  *gateway.Gateway
	control *fakeControl
}

// A fakeControl is what a fixture asks of an engine.
type fakeControl struct {
	store  *db.Store
	caught atomic.Int32 // how often it was to catch up
	killed atomic.Value // the container that was killed last
}

func (c *fakeControl) CatchUp(context.Context) { c.caught.Add(1) }

func (c *fakeControl) Reset(ctx context.Context) error {
	_, err := c.store.Reset(ctx)
	return err
}

func (c *fakeControl) kill(_ context.Context, id string) error {
	c.killed.Store(id)
	return nil
}

func newControlledWorld(t *testing.T) *controlledWorld {
	t.Helper()
	moved, armed := lapclock.New(), &faults.Armed{}
	cfg := db.Config{Path: filepath.Join(t.TempDir(), "lap.db"), Schema: schema(t), Now: moved.Now, Hook: faults.NewCommits(armed)}
	var err error
	if cfg.Sealer, err = db.NewSealer(make([]byte, db.KeySize)); err != nil {
		t.Fatal(err)
	}
	store, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &controlledWorld{control: &fakeControl{store: store}}
	w.fixture = fixture.New(fixture.Config{Clock: moved, Faults: armed, Store: store, Engine: w.control, Kill: w.control.kill})
	w.world = newWorld(t, func(c *api.Config) {
		c.Store, c.Engine, c.Now, c.Fixture = store, newFakeEngine(store), moved.Now, w.fixture
	})
	w.store = store
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.models, err = gateway.New(gateway.Config{Scripts: t.TempDir(), Watch: w.fixture, Clock: moved, Log: w.logger()}); err != nil {
		t.Fatal(err)
	}
	return w
}

// sandbox returns a client of the model gateway, as a session's sandbox has it.
func (w *controlledWorld) sandbox(t *testing.T, sessionID string) *http.Client {
	t.Helper()
	near, far := net.Pipe()
	guest, err := pipe.NewGuest(far)
	if err != nil {
		t.Fatal(err)
	}
	host, err := pipe.NewHost(near)
	if err != nil {
		t.Fatal(err)
	}
	l := pipe.NewListener()
	server := httptest.NewUnstartedServer(w.models)
	server.Listener, server.Config.ConnContext = l, pipe.ConnContext
	server.Start()
	done := make(chan struct{})
	go func() { host.Serve(sessionID, map[pipe.Service]*pipe.Listener{pipe.Gateway: l}); close(done) }()
	transport := &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return guest.Open(pipe.Gateway) },
		DisableKeepAlives: true,
	}
	t.Cleanup(func() {
		if err := errors.Join(guest.Close(), host.Close()); err != nil {
			t.Error(err)
		}
		<-done
		server.Close()
	})
	return &http.Client{Transport: transport}
}

// ask makes a call of a model.
func ask(t *testing.T, c *http.Client, path, body string) *http.Response {
	t.Helper()
	res, err := c.Post("http://gateway"+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res
}

func TestFixtureIsRefusedWithoutIt(t *testing.T) {
	w := newWorld(t)
	for _, route := range coreRoutes() {
		if strings.HasPrefix(route[1], fixtures) {
			w.do(t, route[0], route[1], nil).wantError(t, http.StatusForbidden, "start lap serve with --fixture")
		}
	}
	w.do(t, "GET", fixtures+"/weather", nil).wantError(t, http.StatusNotFound, "not found")
	w.do(t, "DELETE", fixtures+"/clock", nil).wantError(t, http.StatusMethodNotAllowed)
	agent := w.newAgent(t)
	w.send(t, "GET", fixtures+"/clock", nil, bearer(token(t, tokenKey, claims(w, agent, nil)))).wantError(t, http.StatusUnauthorized)
}

func TestClockOverHTTP(t *testing.T) {
	w := newControlledWorld(t)
	agent := w.newAgent(t)
	now := time.Now().Unix()
	good := bearer(token(t, tokenKey, map[string]any{
		"kind": "access", "agent_id": agent, "scope": []string{"memory"}, "iat": now, "exp": now + 900,
	}))
	memory := agents + "/" + agent + "/memory"
	w.send(t, "GET", memory, nil, good).want(t, http.StatusOK)
	if r := w.do(t, "GET", fixtures+"/clock", nil).want(t, http.StatusOK); r.get("offset_ms").Int() != 0 {
		t.Errorf("at first: %s", r.body)
	}
	r := w.do(t, "POST", fixtures+"/clock", `{"advance":"20m"}`).want(t, http.StatusOK)
	if r.get("offset_ms").Int() != (20*time.Minute).Milliseconds() || w.control.caught.Load() != 1 {
		t.Errorf("advanced: %s; caught up %d times", r.body, w.control.caught.Load())
	}
	w.send(t, "GET", memory, nil, good).want(t, http.StatusUnauthorized) // the token has expired
	to := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	w.do(t, "POST", fixtures+"/clock", `{"set":"`+to.Format(time.RFC3339)+`"}`).want(t, http.StatusOK)
	other := w.do(t, "GET", agents+"/"+w.newAgent(t), nil).want(t, http.StatusOK)
	made, err := time.Parse(time.RFC3339, other.get("created_at").String())
	if err != nil || made.Before(to) || made.After(to.Add(time.Minute)) {
		t.Errorf("an agent that was made at %s says %s, %v", to, made, err)
	}
	for _, tt := range []struct{ body, want string }{
		{`{}`, "give this or set"},
		{`{"advance":"1m","set":"2030-01-01T00:00:00Z"}`, "not both"},
		{`{"advance":"tomorrow"}`, "advance: must be a duration"},
		{`{"advance":"-1m"}`, "zero or more"},
		{`{"advance":60}`, "advance: must be a string"},
		{`{"advance":"900000h"}`, "ten years"},
		{`{"set":"2020-01-01T00:00:00Z"}`, "forward only"},
		{`{"set":"noon"}`, "set: must be a time"},
		{`[]`, "invalid JSON"},
	} {
		w.do(t, "POST", fixtures+"/clock", tt.body).wantError(t, http.StatusBadRequest, tt.want)
	}
	if r := w.do(t, "POST", fixtures+"/reset", nil).want(t, http.StatusOK); !r.get("ok").Bool() || r.get("took_ms").Float() <= 0 {
		t.Errorf("reset: %s", r.body)
	}
	if r := w.do(t, "GET", fixtures+"/clock", nil).want(t, http.StatusOK); r.get("offset_ms").Int() != 0 {
		t.Errorf("after a reset: %s", r.body)
	}
}

func TestFaultsOverHTTP(t *testing.T) {
	w := newControlledWorld(t)
	for _, tt := range []struct{ body, want string }{
		{`{}`, "faults: is required"},
		{`{"faults":{}}`, "faults: must be an array"},
		{`{"faults":[{}]}`, "faults.0.step: is required"},
		{`{"faults":[{"step":"sandbox.explode"}]}`, `"sandbox.explode" is none of sandbox.ping, sandbox.ensure`},
		{`{"faults":[{"step":"model","times":-1}]}`, "faults.0.times"},
		{`{"faults":[{"step":"model","status":200}]}`, "from 400 to 599"},
		{`{"faults":[{"step":"disk","status":500}]}`, "for the step model only"},
		{`{"faults":[{"step":"disk","delay":"2h"}]}`, "at most 1m0s"},
	} {
		w.do(t, "POST", fixtures+"/faults", tt.body).wantError(t, http.StatusBadRequest, tt.want)
	}
	if r := w.do(t, "GET", fixtures+"/faults", nil).want(t, http.StatusOK); r.body != `{"faults":[]}` {
		t.Errorf("refused faults were armed: %s", r.body)
	}
	r := w.do(t, "POST", fixtures+"/faults", `{"faults":[{"step":"disk","times":1},{"step":"sandbox.list","error":"text","delay":"50ms"}]}`).want(t, http.StatusOK)
	if want := `{"faults":[{"step":"disk","times":1,"hits":0,"armed":true},{"step":"sandbox.list","times":0,"error":"text","delay":"50ms","hits":0,"armed":true}]}`; r.body != want {
		t.Errorf("faults = %s", r.body)
	}
	agent := `{"model":"gpt","harness_id":"lap"}`
	w.do(t, "POST", agents, agent).wantError(t, http.StatusServiceUnavailable, "session store temporarily unavailable")
	w.do(t, "POST", agents, agent).want(t, http.StatusCreated)
	if r := w.do(t, "GET", agents, nil); r.get("total").Int() != 1 {
		t.Errorf("agents: %s", r.body)
	}
	if r := w.do(t, "GET", fixtures+"/faults", nil); r.get("faults.0.hits").Int() != 1 || r.get("faults.0.armed").Bool() {
		t.Errorf("faults = %s", r.body)
	}
	if r := w.do(t, "DELETE", fixtures+"/faults", nil).want(t, http.StatusOK); r.body != `{"faults":[]}` {
		t.Errorf("cleared: %s", r.body)
	}
	w.do(t, "POST", fixtures+"/faults", `{"faults":[{"step":"disk"}]}`).want(t, http.StatusOK)
	w.do(t, "POST", fixtures+"/reset", nil).want(t, http.StatusOK) // in spite of it
	w.do(t, "POST", agents, agent).want(t, http.StatusCreated)
}

func TestResetDoesNotWaitForDelays(t *testing.T) {
	w := newControlledWorld(t)
	w.do(t, "POST", fixtures+"/faults", `{"faults":[{"step":"disk","delay":"1m","error":"slow and full"}]}`).want(t, http.StatusOK)
	made := make(chan response, 1)
	go func() { made <- w.do(t, "POST", agents, `{"model":"gpt","harness_id":"lap"}`) }()
	for w.fixture.Faults().List()[0].Hits == 0 {
		runtime.Gosched()
	}
	w.do(t, "POST", fixtures+"/reset", nil).want(t, http.StatusOK)
	if r := <-made; r.status != http.StatusCreated { // what delayed it is gone
		t.Errorf("the agent: %d %s", r.status, r.body)
	}
	if r := w.do(t, "GET", agents, nil); r.get("total").Int() != 0 {
		t.Errorf("after the reset: %s", r.body)
	}
}

func TestModelFaultsOverHTTP(t *testing.T) {
	w := newControlledWorld(t)
	id := w.newSession(t, w.newAgent(t))
	models := w.sandbox(t, id)
	w.do(t, "POST", fixtures+"/faults", `{"faults":[
		{"step":"model","times":1,"status":429,"retry_after":"1500ms","error":"slow down"},
		{"step":"model","times":1,"delay":"1ms"},
		{"step":"model","times":1}]}`).want(t, http.StatusOK)
	const question = `{"model":"scripted/echo","messages":[{"role":"user","content":"hi"}]}`
	res := ask(t, models, "/v1/chat/completions", question)
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "2" || res.Header.Get("Retry-After-Ms") != "1500" {
		t.Errorf("the first answer is %d, %v", res.StatusCode, res.Header)
	}
	for _, want := range []int{http.StatusOK, http.StatusInternalServerError, http.StatusOK} {
		if res := ask(t, models, "/v1/chat/completions", question); res.StatusCode != want {
			t.Errorf("answer = %d, want %d", res.StatusCode, want)
		}
	}
	if res, err := models.Get("http://gateway/v1/models"); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("the list of models: %v, %v", res, err)
	}
}

func TestRequestsOverHTTP(t *testing.T) {
	w := newControlledWorld(t)
	agent := w.newAgent(t)
	one, two := w.newSession(t, agent), w.newSession(t, agent)
	first, second, warm := w.sandbox(t, one), w.sandbox(t, two), w.sandbox(t, noID)
	ask(t, first, "/v1/chat/completions", `{"model":"scripted/echo", "messages":[{"role":"user","content":"hi"}]}`)
	ask(t, second, "/v1/messages", `{"model":"claude","max_tokens":1}`)
	ask(t, second, "/v1/chat/completions", `no JSON`)
	ask(t, warm, "/v1/chat/completions", `{"model":"scripted/echo","messages":[]}`)
	all := w.do(t, "GET", fixtures+"/requests", nil).want(t, http.StatusOK)
	if n := len(all.get("data").Array()); n != 2 || all.get("dropped").Int() != 0 {
		t.Fatalf("requests = %s", all.body)
	}
	r := all.get("data.0")
	if r.Get("n").Int() != 1 || r.Get("session_id").String() != one || r.Get("agent_id").String() != agent || r.Get("method").String() != "POST" ||
		r.Get("path").String() != "/v1/chat/completions" || r.Get("model").String() != "scripted/echo" || r.Get("status").Int() != http.StatusOK ||
		r.Get("body.messages.0.content").String() != "hi" || r.Get("at").String() == "" {
		t.Errorf("request = %s", r.Raw)
	}
	if r := all.get("data.1"); r.Get("status").Int() != http.StatusServiceUnavailable { // there is no model gateway
		t.Errorf("request = %s", r.Raw)
	}
	for query, want := range map[string]int64{"?session_id=" + two: 2, "?after=1": 2, "?after=0&session_id=" + one: 1} {
		r := w.do(t, "GET", fixtures+"/requests"+query, nil).want(t, http.StatusOK)
		if list := r.get("data").Array(); len(list) != 1 || list[0].Get("n").Int() != want {
			t.Errorf("%s: %s", query, r.body)
		}
	}
	w.do(t, "POST", fixtures+"/reset", nil).want(t, http.StatusOK)
	ask(t, first, "/v1/chat/completions", `{"model":"scripted/echo","messages":[{"role":"user","content":"still here"}]}`)
	if r := w.do(t, "GET", fixtures+"/requests", nil).want(t, http.StatusOK); r.body != `{"data":[],"dropped":0}` {
		t.Errorf("after a reset: %s", r.body)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	w := newControlledWorld(t)
	id := w.newSession(t, w.newAgent(t))
	note := func(size int) {
		t.Helper()
		done, err := w.fixture.Asked(t.Context(), gateway.Asked{Sandbox: id, Body: make([]byte, size)})
		if err != nil || done == nil {
			t.Fatalf("a call was answered: %v", err)
		}
		done(http.StatusOK)
	}
	for range 1003 {
		note(1)
	}
	if list, dropped := w.fixture.Calls("", 0); len(list) != 1000 || dropped != 3 || list[0].N != 4 {
		t.Errorf("%d calls, the first is %d, %d dropped", len(list), list[0].N, dropped)
	}
	note(40 << 20)
	note(30 << 20)
	if list, dropped := w.fixture.Calls("", 0); len(list) != 1 || dropped != 1004 || list[0].N != 1005 {
		t.Errorf("%d calls, %d dropped", len(list), dropped)
	}
}

func TestHarnessFaultEndsTheSandbox(t *testing.T) {
	w := newControlledWorld(t)
	id := w.do(t, "POST", agents+"/"+w.newAgent(t)+"/session", nil).want(t, http.StatusCreated).get("id").String()
	w.giveContainer(t, id, "container-1")
	w.makeReady(t, id)
	w.do(t, "POST", fixtures+"/faults", `{"faults":[{"step":"harness","times":1}]}`).want(t, http.StatusOK)
	models := w.sandbox(t, id)
	const question = `{"model":"scripted/echo","messages":[{"role":"user","content":"hi"}]}`
	if res := ask(t, models, "/v1/chat/completions", question); res.StatusCode != http.StatusServiceUnavailable || w.control.killed.Load() != "container-1" {
		t.Errorf("answer = %d; killed: %v", res.StatusCode, w.control.killed.Load())
	}
	if res := ask(t, models, "/v1/chat/completions", question); res.StatusCode != http.StatusOK {
		t.Errorf("the next answer is %d", res.StatusCode)
	}
}
