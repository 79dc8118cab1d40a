package gateway_test

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

	"github.com/google/go-cmp/cmp"

	"lap/server/gateway"
)

// deck is a gateway with a folder of cassettes.
type deck struct {
	url, dir string
	log      *lines
}

// newDeck starts a gateway in front of base, or of none, whose calls m counts.
func newDeck(tb testing.TB, base, dir string, m gateway.Meter) deck {
	tb.Helper()
	d := deck{dir: dir, log: &lines{}}
	g, err := gateway.New(gateway.Config{
		BaseURL: base, APIKey: realKey, Scripts: tb.TempDir(), Cassettes: dir, DefaultModel: "gpt-default", Meter: m,
		Log: slog.New(slog.NewTextHandler(d.log, nil)),
	})
	if err != nil {
		tb.Fatal(err)
	}
	srv := httptest.NewServer(g)
	tb.Cleanup(srv.Close)
	d.url = srv.URL
	return d
}

func (d deck) file(tb testing.TB, name string) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, name+".yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// named is a request for another model. Of Gemini's forms the path names it.
func named(path, request, model string) (string, string) {
	var body map[string]any
	if err := json.Unmarshal([]byte(request), &body); err != nil {
		panic(err)
	}
	if strings.HasPrefix(path, "/v1beta/") {
		return strings.Replace(path, "/g:", "/"+model+":", 1), request
	}
	body["model"] = model
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return path, string(text)
}

// What was recorded is replayed byte for byte without a model gateway, and counts the same,
// whatever the form.
func TestRecordAndReplay(t *testing.T) {
	for i, tt := range samples {
		t.Run(tt.name, func(t *testing.T) {
			dir, recorded, replayed := t.TempDir(), newMeter(), newMeter()
			up := answering(t, tt.kind, tt.answer)
			name := fmt.Sprintf("tape-%d", i)
			path, body := named(tt.path, tt.request, "record/"+name+"/vendor/real-x")
			d := newDeck(t, up.URL, dir, recorded)
			first := send(t, http.MethodPost, d.url+path, body)
			first.want(t, 200)
			if got := up.only(t); strings.Contains(got.uri+got.body, "record/") || !strings.Contains(got.uri+got.body, "vendor/real-x") {
				t.Errorf("the upstream got %s %s", got.uri, got.body)
			}
			path, body = named(tt.path, tt.request, "replay/"+name)
			second := send(t, http.MethodPost, newDeck(t, "", dir, replayed).url+path, body)
			second.want(t, 200)
			if second.body != first.body || first.body != tt.answer {
				t.Errorf("recorded %q, replayed %q, want %q; the file:\n%s", first.body, second.body, tt.answer, d.file(t, name))
			}
			if got, want := second.header.Get("Content-Type"), first.header.Get("Content-Type"); got != want {
				t.Errorf("Content-Type = %q, want %q", got, want)
			}
			a, b := recorded.only(t), replayed.only(t)
			if a.model != "vendor/real-x" || b.model != "replay/"+name+"/vendor/real-x" {
				t.Errorf("the models are %s and %s", a.model, b.model)
			}
			if diff := cmp.Diff(a.usage, b.usage); diff != "" && !a.usage.Estimated { // an estimate counts the model's name
				t.Errorf("usage (-recorded +replayed):\n%s", diff)
			}
		})
	}
}

// A stream that was not asked for its usage does not show it, recorded or replayed.
func TestReplayHidesUsageNobodyAskedFor(t *testing.T) {
	dir, m := t.TempDir(), newMeter()
	const told = `data: {"choices":[{"index":0,"delta":{"content":"x"}}]}` + "\n\n"
	up := answering(t, events, told+`data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}`+"\n\ndata: [DONE]\n\n")
	ask := `{"model":"%s/a/m","stream":true,"messages":[]}`
	want := told + "data: [DONE]\n\n"
	for _, d := range []struct{ base, kind string }{{up.URL, "record"}, {"", "replay"}} {
		a := send(t, http.MethodPost, newDeck(t, d.base, dir, m).url+"/v1/chat/completions", fmt.Sprintf(ask, d.kind))
		if a.body != want {
			t.Errorf("%s: answer = %q, want %q", d.kind, a.body, want)
		}
		if u := m.only(t).usage; u.InputTokens != 3 || u.Estimated {
			t.Errorf("%s: usage = %+v", d.kind, u)
		}
	}
	a := send(t, http.MethodPost, newDeck(t, "", dir, m).url+"/v1/chat/completions", `{"model":"replay/a","stream":true,"stream_options":{"include_usage":true},"messages":[]}`)
	if !strings.Contains(a.body, `"prompt_tokens":3`) {
		t.Errorf("who asks for the usage gets %q", a.body)
	}
}

// turnOf is one request of a conversation that is the same from run to run but for what
// cannot be the same.
const turnOf = `{"model":"%[1]s","stream":false,"user":"%[2]s","prompt_cache_key":"%[2]s","metadata":{"session":"%[2]s"},"messages":[` +
	`{"role":"system","content":"You are %[1]s.\nToday's date: %[3]s\nWorking directory: /work\nToken: stub_github_token_%[4]s"},` +
	`{"role":"user","content":"mend it %[2]s in /tmp/go-build%[5]s/x at %[6]s"},` +
	`{"role":"assistant","tool_calls":[{"id":"call_%[5]sabcdef","type":"function","function":{"name":"bash","arguments":"{}"}}]},` +
	`{"role":"tool","tool_call_id":"call_%[5]sabcdef","content":"ok  \tlap/x\t0.%[5]ss"}]}`

func TestReplayKnowsTheSameWorkAgain(t *testing.T) {
	dir := t.TempDir()
	up := answering(t, "application/json", `{"id":"1"}`)
	first := fmt.Sprintf(turnOf, "record/checkout/gpt-5", "0b0f3c1e-7a52-4c50-a0cf-2f0d35d2a8f1", "Mon Jan 05 2026", "db956f5c", "123456", "2026-01-05T10:00:00.123Z")
	again := fmt.Sprintf(turnOf, "replay/checkout", "aaaaaaaa-7a52-4c50-a0cf-2f0d35d2a8f1", "Tue Feb 10 2026", "00112233", "987654", "2026-02-10T23:59:59Z")
	d := newDeck(t, up.URL, dir, nil)
	send(t, http.MethodPost, d.url+"/v1/chat/completions", first).want(t, 200)
	send(t, http.MethodPost, newDeck(t, "", dir, nil).url+"/chat/completions", again).want(t, 200, `{"id":"1"}`)
	other := strings.Replace(again, "mend it", "break it", 1)
	a := send(t, http.MethodPost, newDeck(t, "", dir, nil).url+"/v1/chat/completions", other)
	a.want(t, 400, `"code":"replay_miss"`, "checkout.yaml has no call", "call 1", "-  - content: mend it", "+  - content: break it")
	if a.header.Get("X-Should-Retry") != "false" || strings.Contains(a.body, "You are") || strings.Contains(a.body, "00112233") {
		t.Errorf("answer = %v %s", a.header, a.body)
	}
	send(t, http.MethodPost, newDeck(t, "", dir, nil).url+"/v1/messages", again).want(t, 400, `"type":"error"`, `"type":"invalid_request_error"`, "-request: POST chat/completions", "+request: POST messages")
}

func TestMissIsBounded(t *testing.T) {
	dir := t.TempDir()
	up := newUpstream(t, nil)
	long := func(word string) string {
		text, _ := json.Marshal(strings.Repeat(word+" and more of it, "+word+"\n", 20000)) // a string always encodes
		return fmt.Sprintf(`{"model":"%%s/long/m","input":%s}`, text)
	}
	send(t, http.MethodPost, newDeck(t, up.URL, dir, nil).url+"/v1/responses", fmt.Sprintf(long("one"), "record")).want(t, 200)
	a := send(t, http.MethodPost, newDeck(t, "", dir, nil).url+"/v1/responses", fmt.Sprintf(long("two"), "replay"))
	a.want(t, 400, "replay_miss", "... and more")
	if len(a.body) > 10_000 {
		t.Errorf("the answer has %d bytes", len(a.body))
	}
}

// Equal requests get their answers in the order of the recording, and then the last one
// again; after a restart from the first.
func TestEqualRequestsPlayInOrder(t *testing.T) {
	dir, n := t.TempDir(), 0
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { n++; fmt.Fprintf(w, `{"n":%d}`, n) })
	body := `{"model":"%s/poll/m","input":"ready?"}`
	rec := newDeck(t, up.URL, dir, nil)
	for range 3 {
		send(t, http.MethodPost, rec.url+"/v1/responses", fmt.Sprintf(body, "record")).want(t, 200)
	}
	for range 2 {
		play := newDeck(t, "", dir, nil)
		for _, want := range []string{`{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":3}`} {
			if a := send(t, http.MethodPost, play.url+"/v1/responses", fmt.Sprintf(body, "replay")); a.body != want {
				t.Errorf("answer = %s, want %s", a.body, want)
			}
		}
	}
}

// Nothing that looks like a credential is in the file, wherever it came from.
func TestCassettesHoldNoSecrets(t *testing.T) {
	secrets := []string{
		"sk-abcdefghijklmnop1234", "ghp_abcdefghijklmnop1234", "github_pat_11ABCDEFG0abcdefghij", "AKIAIOSFODNN7EXAMPLE", "xoxb-123456789012-abc",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "Bearer abcdefgh1jklmnop", "AIzaSyA1234567890abcdefghijklmnopqrstuv",
		"hunter22@example.com", realKey, "stub_github_token_db956f5c", "cookie-value", "org-acme12345", "-----BEGIN RSA PRIVATE KEY-----\\nMIIabc\\n-----END RSA PRIVATE KEY-----",
	}
	said := strings.ReplaceAll(strings.Join(append(secrets[:9:9], realKey, secrets[10]), " "), "hunter22@", "https://me:hunter22@") + " " + secrets[13]
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Set-Cookie": "a=cookie-value", "Openai-Organization": "org-acme12345", "X-Api-Key": realKey, "X-Request-Id": "cookie-value",
			"Content-Type": r.Header.Get("X-Kind"),
		} {
			w.Header().Set(name, value)
		}
		fmt.Fprintf(w, "data: {\"said\":\"%s\"}\n\n", said)
	})
	for _, kind := range []string{"application/json", events} {
		d := newDeck(t, up.URL, t.TempDir(), nil)
		send(t, http.MethodPost, d.url+"/v1/chat/completions", `{"model":"record/safe/m","messages":[{"role":"user","content":"`+said+`"}]}`,
			"Authorization", "Bearer "+secrets[0], "X-Api-Key", secrets[0], "Cookie", "cookie-value", "Openai-Organization", "org-acme12345", "X-Kind", kind).want(t, 200)
		file := d.file(t, "safe")
		for _, secret := range append(secrets, "hunter22", "MIIabc", "secret+0123456789") {
			if strings.Contains(file, secret) {
				t.Errorf("the cassette holds %s:\n%s", secret, file)
			}
		}
		if !strings.Contains(file, "stub_github_token_00000000") || !strings.Contains(file, "<secret>") {
			t.Errorf("the cassette says nothing of what is gone:\n%s", file)
		}
	}
}

func TestConcurrentRecording(t *testing.T) {
	dir := t.TempDir()
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", events)
		_, _ = io.WriteString(w, "data: {}\n\ndata: [DONE]\n\n")
	})
	decks := []deck{newDeck(t, up.URL, dir, nil), newDeck(t, up.URL, dir, nil)} // as two processes
	const calls = 24
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			body := fmt.Sprintf(`{"model":"record/many/m","input":"question %d"}`, i)
			send(t, http.MethodPost, decks[i%2].url+"/v1/responses", body).want(t, 200)
		})
	}
	wg.Wait()
	play := newDeck(t, "", dir, nil)
	for i := range calls {
		send(t, http.MethodPost, play.url+"/v1/responses", fmt.Sprintf(`{"model":"replay/many","input":"question %d"}`, i)).want(t, 200, "[DONE]")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v", left, err)
	}
}

// What a crash left in the middle of a file's writing harms nothing, and is removed.
func TestCrashWhileRecording(t *testing.T) {
	dir := t.TempDir()
	up := newUpstream(t, nil)
	d := newDeck(t, up.URL, dir, nil)
	body := `{"model":"%s/a/m","input":"%d"}`
	send(t, http.MethodPost, d.url+"/v1/responses", fmt.Sprintf(body, "record", 1)).want(t, 200)
	whole := d.file(t, "a")
	for _, name := range []string{".a.yaml.unfinished", ".b.yaml.unfinished"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(whole[:len(whole)/2]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d = newDeck(t, up.URL, dir, nil)
	send(t, http.MethodPost, d.url+"/v1/responses", fmt.Sprintf(body, "replay", 1)).want(t, 200)
	send(t, http.MethodPost, d.url+"/v1/responses", fmt.Sprintf(body, "record", 2)).want(t, 200)
	if got := d.file(t, "a"); !strings.HasPrefix(got, whole) || len(got) == len(whole) {
		t.Errorf("the cassette is %s", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v", left, err)
	}
}

// Answers that another try would not get are passed on, but not recorded.
func TestWhatIsNotRecorded(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 17<<20)
	tests := []struct {
		name   string
		answer http.HandlerFunc
		logged string
	}{
		{"limit", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, "answered 429"},
		{"key", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "answered 401"},
		{"down", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "answered 502"},
		{"large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(large) }, "larger than 16 MiB"},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"a\":")
		}, "the answer was cut"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDeck(t, newUpstream(t, tt.answer).URL, t.TempDir(), nil)
			const body = `{"model":"record/a/m","input":"x"}`
			rawAll(t, d.url, fmt.Sprintf("POST /v1/responses HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
			if left, err := os.ReadDir(d.dir); err != nil || len(left) != 0 {
				t.Errorf("the folder has %v, %v", left, err)
			}
			if !strings.Contains(d.log.String(), tt.logged) {
				t.Errorf("log = %s, want %q", d.log, tt.logged)
			}
		})
	}
}

func TestRefusedTapes(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"damaged": "cassette: 1\n---\nrequest: POST responses\nbody: {a: 1\n---\n", "typo": "cassette: 1\n---\nrequest: x\nanswr: {}\n",
		"headless": "---\nrequest: x\n", "blank": "", "none": "cassette: 1\n", "odd": "cassette: 1\n---\nrequest: x\nanswer: {status: 7}\n",
		"loop": "cassette: 1\n---\nrequest: x\nbody: &a [*a]\nanswer: {status: 200}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	up := newUpstream(t, nil)
	d := newDeck(t, up.URL, dir, newMeter())
	tests := []struct{ name, body, want string }{
		{"no cassette", `{"model":"replay/nothing/gpt-5"}`, "record/nothing/"},
		{"damaged", `{"model":"replay/damaged"}`, "damaged.yaml: line "},
		{"damaged, recording", `{"model":"record/damaged/m"}`, "damaged.yaml: line "},
		{"unknown key", `{"model":"replay/typo"}`, "typo.yaml: line 4: key answr is not known"},
		{"no head", `{"model":"replay/headless"}`, "headless.yaml: "},
		{"empty file", `{"model":"replay/blank"}`, "the file is empty"},
		{"no calls", `{"model":"replay/none"}`, "has no call"},
		{"odd status", `{"model":"replay/odd"}`, "call 1, which begins in line 3: answer: status: 7"},
		{"loop", `{"model":"replay/loop"}`, "loop.yaml: "},
		{"a way out", `{"model":"record/../../x/m"}`, "is no name of a cassette"},
		{"hidden", `{"model":"replay/.x"}`, "is no name of a cassette"},
		{"no name", `{"model":"record/"}`, "is no name of a cassette"},
		{"odd model", `{"model":"record/a/m\"x"}`, "is no name of a model"},
		{"nested", `{"model":"record/a/replay/b"}`, "cannot be recorded"},
		{"scripted", `{"model":"record/a/scripted/echo"}`, "cannot be recorded"},
		{"two models", `{"model":"record/a/m","model":"gpt-x"}`, "more than one model"},
		{"twice", `{"model":"record/a/m","Model":"record/a/m"}`, "name the model once"},
		{"fallbacks", `{"model":"record/a/m","fallbacks":["gpt-x"]}`, "fallbacks are not open"},
		{"deep", `{"model":"record/a/m","a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "nested deeper"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := send(t, http.MethodPost, d.url+"/v1/responses", tt.body)
			var e struct{ Error struct{ Message string } }
			if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != 400 || !strings.Contains(e.Error.Message, tt.want) {
				t.Errorf("answer = %d %s, want 400 and %q", a.status, a.body, tt.want)
			}
			if strings.Contains(a.body, dir) {
				t.Errorf("the answer shows a path of the host: %s", a.body)
			}
		})
	}
	if got := up.requests(); len(got) > 0 {
		t.Errorf("the upstream got %v", got)
	}
	send(t, http.MethodPost, newDeck(t, "", dir, nil).url+"/v1/responses", `{"model":"record/a/m"}`).want(t, 503, "no_model_gateway")
}

func TestTapeOfDefaultModel(t *testing.T) {
	up := newUpstream(t, nil)
	d := newDeck(t, up.URL, t.TempDir(), nil)
	send(t, http.MethodPost, d.url+"/v1/responses", `{"input":1,"model":"record/a"}`).want(t, 200)
	if got := up.only(t).body; got != `{"input":1,"model":"gpt-default"}` {
		t.Errorf("the upstream got %s", got)
	}
	a := send(t, http.MethodGet, newDeck(t, "", d.dir, nil).url+"/v1/models", "")
	a.want(t, 200, `"id":"scripted/echo"`, `"id":"replay/a"`)
	send(t, http.MethodGet, d.url+"/v1/models/replay/a", "").want(t, 200, `"id":"replay/a"`)
}

// TestGoldenCassette holds the form of the files, which users commit.
func TestGoldenCassette(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range samples {
		switch tt.name {
		case "chat completion", "response stream", "message stream", "speech":
			_, body := named(tt.path, tt.request, "record/golden/real-x")
			send(t, http.MethodPost, newDeck(t, answering(t, tt.kind, tt.answer).URL, dir, nil).url+tt.path, body).want(t, 200)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "golden.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", "testdata", "gateway", "cassette.yaml")
	if os.Getenv("LAP_UPDATE") != "" {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("%s differs (-want +got); LAP_UPDATE=1 writes it:\n%s", file, diff)
	}
}
