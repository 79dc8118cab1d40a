package agent_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lap/sandbox/agent"
)

// chat is what the fake gateway got.
type chat struct {
	Model    string
	Stream   bool
	Messages []chatMessage
	Tools    []struct {
		Function struct {
			Name       string
			Parameters struct {
				Type       string
				Required   []string
				Properties map[string]struct{ Type string }
			}
		}
	}
	Options struct {
		Usage bool `json:"include_usage"`
	} `json:"stream_options"`
	header http.Header
}

type chatMessage struct {
	Role      string
	Content   json.RawMessage
	ToolCalls []struct {
		ID       string
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
	ToolCallID string `json:"tool_call_id"`
}

// text is the content when it is a plain string.
func (m chatMessage) text() string {
	var s string
	if json.Unmarshal(m.Content, &s) != nil {
		return string(m.Content)
	}
	return s
}

// A step answers one model call.
type step func(w http.ResponseWriter, r *http.Request)

// gateway plays steps, one for each call; after the last one it says "done".
type gateway struct {
	mu    sync.Mutex
	steps []step
	got   []chat
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/chat/completions" || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	req := chat{header: r.Header}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	g.mu.Lock()
	g.got = append(g.got, req)
	next := say("done")
	if len(g.steps) > 0 {
		next, g.steps = g.steps[0], g.steps[1:]
	}
	g.mu.Unlock()
	next(w, r)
}

func (g *gateway) play(steps ...step) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.steps = append(g.steps, steps...)
}

func (g *gateway) requests() []chat {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]chat{}, g.got...)
}

// chunk sends one frame of the streaming wire format.
func chunk(w http.ResponseWriter, delta, finish string) {
	reason := "null"
	if finish != "" {
		reason = `"` + finish + `"`
	}
	frame(w, fmt.Sprintf(`"choices":[{"index":0,"delta":%s,"finish_reason":%s}]`, delta, reason))
}

func frame(w http.ResponseWriter, fields string) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",%s}\n\n", fields)
	w.(http.Flusher).Flush()
}

func end(w http.ResponseWriter, finish string) {
	chunk(w, "{}", finish)
	frame(w, `"choices":[],"usage":{"prompt_tokens":120,"completion_tokens":20,"total_tokens":140,`+
		`"prompt_tokens_details":{"cached_tokens":100},"completion_tokens_details":{"reasoning_tokens":5}}`)
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func quote(s string) string {
	b, _ := json.Marshal(s) // strings always encode
	return string(b)
}

// say answers with text, each word a delta.
func say(text string) step {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, word := range strings.SplitAfter(text, " ") {
			chunk(w, `{"role":"assistant","content":`+quote(word)+`}`, "")
		}
		end(w, "stop")
	}
}

// use answers with tool calls: name, arguments, name, arguments and so on, the latter
// in two pieces.
func use(namesAndArgs ...string) step {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(namesAndArgs); i += 2 {
			args := namesAndArgs[i+1]
			chunk(w, fmt.Sprintf(`{"tool_calls":[{"index":%d,"id":"call_%d","type":"function","function":{"name":%q,"arguments":""}}]}`,
				i/2, i/2, namesAndArgs[i]), "")
			for _, piece := range []string{args[:len(args)/2], args[len(args)/2:]} {
				chunk(w, fmt.Sprintf(`{"tool_calls":[{"index":%d,"function":{"arguments":%s}}]}`, i/2, quote(piece)), "")
			}
		}
		end(w, "tool_calls")
	}
}

// status answers with an HTTP status, a body, and headers as name, value.
func status(code int, body string, headers ...string) step {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

// hang says something and then nothing until the caller leaves.
func hang(text string, left chan<- struct{}) step {
	return func(w http.ResponseWriter, r *http.Request) {
		chunk(w, `{"role":"assistant","content":`+quote(text)+`}`, "")
		<-r.Context().Done()
		close(left)
	}
}

// fixture is an agent with a fake gateway, a working tree and one session.
type fixture struct {
	*gateway
	t       *testing.T
	url     string
	dir     string
	home    string
	scratch string
	session string
	agent   *agent.Agent
}

// start makes a fixture. change, if not nil, changes its configuration first.
func start(t *testing.T, change func(*agent.Config), steps ...step) *fixture {
	t.Helper()
	f := &fixture{t: t, gateway: &gateway{steps: steps}, dir: t.TempDir(), home: t.TempDir(), scratch: filepath.Join(t.TempDir(), "scratch")}
	model := httptest.NewServer(f.gateway)
	t.Cleanup(model.Close)
	cfg := agent.Config{
		GatewayURL: model.URL + "/v1", PlatformURL: model.URL, AgentID: "agent-1",
		Dir: f.dir, Home: f.home, Scratch: f.scratch, Env: []string{"PATH=" + os.Getenv("PATH")},
	}
	if change != nil {
		change(&cfg)
	}
	f.agent = agent.New(cfg)
	server := httptest.NewUnstartedServer(f.agent)
	server.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateNew {
			_ = c.(*net.TCPConn).SetWriteBuffer(64 << 10) // so that a slow reader shows soon
		}
	}
	server.Start()
	t.Cleanup(func() {
		f.agent.Close()
		server.CloseClientConnections()
		server.Close()
	})
	f.url = server.URL
	f.session = f.open(`{"title":"t"}`)
	return f
}

func (f *fixture) open(body string) string {
	f.t.Helper()
	var s agent.Session
	f.do(http.MethodPost, "/session", body, http.StatusOK, &s)
	return s.ID
}

// do makes a request, checks its status and decodes its answer into v unless that is nil.
func (f *fixture) do(method, path, body string, want int, v any) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if res.StatusCode != want {
		f.t.Fatalf("%s %s = %d, want %d: %s", method, path, res.StatusCode, want, text)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(text, v); err != nil {
		f.t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
}

func ask(text string) string {
	return `{"model":{"providerID":"litellm","modelID":"m"},"parts":[{"type":"text","text":` + quote(text) + `}]}`
}

// send sends a message and waits for the end of its turn.
func (f *fixture) send(text string) message {
	f.t.Helper()
	var m message
	f.do(http.MethodPost, "/session/"+f.session+"/message", ask(text), http.StatusOK, &m)
	return m
}

func (f *fixture) thread() []message {
	f.t.Helper()
	var list []message
	f.do(http.MethodGet, "/session/"+f.session+"/message", "", http.StatusOK, &list)
	return list
}

// message is a message with what tests ask it.
type message agent.Message

// text is all of the message's text.
func (m message) text() string {
	var b strings.Builder
	for _, p := range m.Parts {
		if p.Type == "text" {
			b.WriteString(*p.Text)
		}
	}
	return b.String()
}

// failure is the message's error.
func (m message) failure() agent.Error {
	if m.Info.Reply == nil || m.Info.Error == nil {
		return agent.Error{}
	}
	return *m.Info.Error
}

// tools returns the states of all tool parts in the thread.
func (f *fixture) tools() []agent.ToolState {
	f.t.Helper()
	var all []agent.ToolState
	for _, m := range f.thread() {
		for _, p := range m.Parts {
			if p.State != nil {
				all = append(all, *p.State)
			}
		}
	}
	return all
}

func (f *fixture) write(name, content string) {
	f.t.Helper()
	write(f.t, filepath.Join(f.dir, name), content)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// event is one frame of the event stream.
type event struct {
	ID, Type   string
	Properties struct {
		SessionID, MessageID, PartID, Field, Delta string
		Info                                       json.RawMessage
		Part                                       agent.Part
		Status                                     agent.Status
		Error                                      agent.Error
	}
}

// String is the event in short.
func (e event) String() string {
	p := e.Properties
	switch e.Type {
	case "message.updated":
		var info agent.Info
		_ = json.Unmarshal(p.Info, &info) // an empty one shows in the test
		if info.Reply == nil {
			return "message " + info.Role
		}
		return strings.TrimSpace("message " + info.Role + " " + info.Finish)
	case "message.part.updated":
		switch {
		case p.Part.State != nil:
			return "part tool " + p.Part.State.Status
		case p.Part.Text != nil:
			return "part " + p.Part.Type + " " + quote(*p.Part.Text)
		default:
			return "part " + p.Part.Type
		}
	case "message.part.delta":
		return "delta " + quote(p.Delta)
	case "session.status":
		return "status " + p.Status.Type
	default:
		return e.Type
	}
}

// events reads an event stream in the test's own time.
type events struct {
	t *testing.T
	r *bufio.Reader
}

func (f *fixture) subscribe() *events {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.url+"/event", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { res.Body.Close() })
	e := &events{t: f.t, r: bufio.NewReader(res.Body)}
	if first := e.next(); first.Type != "server.connected" {
		f.t.Fatalf("first event = %s", first.Type)
	}
	return e
}

func (e *events) next() event {
	e.t.Helper()
	var data []byte
	for {
		line, err := e.r.ReadBytes('\n')
		if err != nil {
			e.t.Fatalf("event stream: %v", err)
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		data = append(data, bytes.TrimPrefix(line, []byte("data: "))...)
	}
	var ev event
	if err := json.Unmarshal(data, &ev); err != nil {
		e.t.Fatalf("event %s: %v", data, err)
	}
	return ev
}

// until reads events up to the first that is want in short.
func (e *events) until(want string) []event {
	e.t.Helper()
	var list []event
	for {
		ev := e.next()
		list = append(list, ev)
		if ev.String() == want {
			return list
		}
	}
}
