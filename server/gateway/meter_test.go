package gateway_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/server/gateway"
)

// counted is a call as a meter got it.
type counted struct {
	model string
	usage gateway.Usage
}

// meter records the calls that it admits.
type meter struct {
	refuse   error // nil: calls are admitted
	mu       sync.Mutex
	admitted []string
	counts   chan counted
}

func newMeter() *meter { return &meter{counts: make(chan counted, 100)} }

func (m *meter) Admit(_ context.Context, _, model string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.admitted = append(m.admitted, model)
	return m.refuse
}

func (m *meter) Count(ctx context.Context, _, model string, u gateway.Usage) {
	if err := ctx.Err(); err != nil {
		panic(err)
	}
	m.counts <- counted{model, u}
}

// only returns the one call that was counted.
func (m *meter) only(t *testing.T) counted {
	t.Helper()
	select {
	case c := <-m.counts:
		m.none(t)
		return c
	case <-time.After(10 * time.Second):
		t.Fatal("no call was counted")
		return counted{}
	}
}

func (m *meter) none(t *testing.T) {
	t.Helper()
	select {
	case c := <-m.counts:
		t.Errorf("%+v was counted", c)
	default:
	}
}

// serveMetered starts a gateway in front of base whose calls m counts.
func serveMetered(tb testing.TB, base string, m gateway.Meter) string {
	tb.Helper()
	g, err := gateway.New(gateway.Config{BaseURL: base, APIKey: realKey, Scripts: tb.TempDir(), Meter: m, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	srv := httptest.NewServer(g)
	tb.Cleanup(srv.Close)
	return srv.URL
}

// answering is an upstream that gives one answer.
func answering(tb testing.TB, kind, body string) *upstream {
	tb.Helper()
	return newUpstream(tb, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, body)
	})
}

const events = "text/event-stream; charset=utf-8"

// A client that has its whole answer finds it counted, whatever the form.
func TestUsageIsCounted(t *testing.T) {
	for _, tt := range samples {
		t.Run(tt.name, func(t *testing.T) {
			m, up := newMeter(), answering(t, tt.kind, tt.answer)
			a := send(t, http.MethodPost, serveMetered(t, up.URL, m)+tt.path, tt.request)
			a.want(t, 200)
			if a.body != tt.answer {
				t.Errorf("answer = %q, want %q", a.body, tt.answer)
			}
			if diff := cmp.Diff(tt.want, m.only(t).usage); diff != "" {
				t.Errorf("usage (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFreeCalls(t *testing.T) {
	m := newMeter()
	m.refuse = errors.New("asked")
	up := newUpstream(t, nil)
	at := serveMetered(t, up.URL, m)
	for _, path := range []string{"/v1/messages/count_tokens", "/v1/responses/input_tokens", "/v1/responses/r/cancel", "/v1beta/models/g:countTokens"} {
		send(t, http.MethodPost, at+path, ask).want(t, 200)
	}
	for _, path := range []string{"/v1/models", "/v1/model/info", "/v1/responses/r"} {
		send(t, http.MethodGet, at+path, "").want(t, 200)
	}
	m.none(t)
}

func TestModelsOfCalls(t *testing.T) {
	tests := []struct{ path, body, kind, want string }{
		{"/v1/chat/completions", `{"model":"gpt-x"}`, "", "gpt-x"},
		{"/v1/chat/completions?model=gpt-x", `{"model":"gpt-x"}`, "", "gpt-x"},
		{"/v1beta/models/g-x:generateContent", `{}`, "", "g-x"},
		{"/v1beta/models/g-x:embedContent", `{"model":"models/g-x"}`, "", "g-x"},
		{"/v1beta/models/llama:8b:generateContent", `{}`, "", "llama:8b"},
		{"/v1beta/models/a:countTokens:generateContent", `{}`, "", "a:countTokens"},
		{"/v1/moderations", `{"input":"x"}`, "", "moderations"},
		{"/v1/audio/transcriptions", "--x--", "multipart/form-data; boundary=x", "audio/transcriptions"},
	}
	up := newUpstream(t, nil)
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			m := newMeter()
			send(t, http.MethodPost, serveMetered(t, up.URL, m)+tt.path, tt.body, "Content-Type", tt.kind).want(t, 200)
			if got := m.only(t).model; got != tt.want || m.admitted[0] != tt.want {
				t.Errorf("counted for %q, admitted %q, want %q", got, m.admitted, tt.want)
			}
		})
	}
}

// What cannot be counted does not pass.
func TestUncountable(t *testing.T) {
	m, up := newMeter(), newUpstream(t, nil)
	at := serveMetered(t, up.URL, m)
	for _, value := range []string{"true", "1", `"yes"`} {
		send(t, http.MethodPost, at+"/v1/responses", `{"model":"m","background":`+value+`}`).want(t, 400, "unsupported_background")
	}
	send(t, http.MethodPost, at+"/v1/responses", `{"model":"m","background":false,"Background":true}`).want(t, 400)
	send(t, http.MethodPost, at+"/v1/chat/completions", `{"model":"cheap","Model":"dear"}`).want(t, 400, "ambiguous_model")
	send(t, http.MethodPost, at+"/v1/chat/completions", `{"model":"cheap,dear"}`).want(t, 400, "ambiguous_model")
	send(t, http.MethodPost, at+"/v1/chat/completions", `{"model":"cheap","stream":false,"stream":true}`).want(t, 400, "ambiguous_stream")
	for _, more := range []string{`"models":["dear"]`, `"fallbacks":["dear"]`, `"Fallbacks":[{"cheap":["dear"]}]`, `"context_window_fallbacks":[{}]`, `"content_policy_fallbacks":["dear"]`} {
		send(t, http.MethodPost, at+"/v1/chat/completions", `{"model":"cheap",`+more+`}`).want(t, 400, "unsupported_fallbacks")
	}
	for _, verb := range []string{"predictLongRunning", "batchGenerateContent", "asyncBatchEmbedContent"} {
		send(t, http.MethodPost, at+"/v1beta/models/g:"+verb, `{}`).want(t, 405)
	}
	send(t, http.MethodPost, at+"/v1/chat/completions?model=dear", `{"model":"cheap"}`).want(t, 400, "ambiguous_model")
	m.none(t)
	if len(up.requests()) > 0 {
		t.Errorf("the upstream got %v", up.requests())
	}
	send(t, http.MethodPost, at+"/v1/responses", `{"model":"m","background":false}`).want(t, 200)
	send(t, http.MethodPost, at+"/v1/images/generations", `{"model":"m","background":"transparent"}`).want(t, 200)
}

func TestRefusal(t *testing.T) {
	m, up := newMeter(), newUpstream(t, nil)
	m.refuse = fmt.Errorf("call: %w", &gateway.RefusalError{Message: "the budget is spent"})
	at := serveMetered(t, up.URL, m)
	a := send(t, http.MethodPost, at+"/v1/chat/completions", ask)
	a.want(t, 402, `{"error":{"message":"the budget is spent","type":"insufficient_quota","param":null,"code":"budget_exceeded"}}`)
	if a.header.Get("X-Should-Retry") != "false" {
		t.Errorf("headers = %v", a.header)
	}
	send(t, http.MethodPost, at+"/v1/messages", ask).want(t, 402, `{"type":"error","error":{"type":"billing_error","message":"the budget is spent"}}`)
	send(t, http.MethodPost, at+"/v1/audio/translations", "--x--", "Content-Type", "multipart/form-data; boundary=x").want(t, 402)
	send(t, http.MethodPost, at+"/v1/chat/completions", `{"model":"scripted/echo","messages":[{"role":"user","content":"hi"}]}`).want(t, 402)
	m.refuse = errors.New("disk full")
	a = send(t, http.MethodPost, at+"/v1/chat/completions", ask)
	a.want(t, 503, `"code":"budget_unknown"`)
	if strings.Contains(a.body, "disk") {
		t.Errorf("answer = %s", a.body)
	}
	m.none(t)
	if len(up.requests()) > 0 {
		t.Errorf("the upstream got %v", up.requests())
	}
}

// A call that fails is reported, so that it does not count as under way, with no usage.
func TestFailuresUseNothing(t *testing.T) {
	failing := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Litellm-Response-Cost", "5")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"usage":{"prompt_tokens":5}}`)
	})
	moved := newUpstream(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	for base, status := range map[string]int{
		failing.URL: 429, moved.URL: 502, "http://127.0.0.1:1": 502,
		answering(t, events, "data: {\"error\":{\"message\":\"overloaded\"}}\n\n").URL: 200,
	} {
		m := newMeter()
		send(t, http.MethodPost, serveMetered(t, base, m)+"/v1/chat/completions", ask).want(t, status)
		if got := m.only(t).usage; got != (gateway.Usage{}) {
			t.Errorf("status %d: usage = %+v", status, got)
		}
	}
	m := newMeter()
	at := serveMetered(t, "", m)
	send(t, http.MethodPost, at+"/v1/chat/completions", ask).want(t, 503)
	send(t, http.MethodPost, at+"/v1/embeddings", `{"model":"scripted/echo"}`).want(t, 400)
	m.none(t)
	send(t, http.MethodPost, at+"/v1/chat/completions", `{"model":"scripted/nope","messages":[{"role":"user","content":"hi"}]}`).want(t, 404)
	if got := m.only(t).usage; got != (gateway.Usage{}) {
		t.Errorf("usage = %+v", got)
	}
}

func TestScriptedUsage(t *testing.T) {
	tests := []struct {
		path, rest string
		input      int64
	}{
		{"/v1/chat/completions", `"messages":[{"role":"user","content":"hi there"}]`, 10},
		{"/v1/messages?beta=true", `"system":"1234567890","messages":[{"role":"user","content":"hi there"}]`, 13},
		{"/v1/responses", `"instructions":"1234567890","input":"hi there"`, 6},
	}
	for _, tt := range tests {
		for _, stream := range []string{"true", "false"} {
			m := newMeter()
			a := send(t, http.MethodPost, serveMetered(t, "", m)+tt.path, `{"model":"scripted/echo","stream":`+stream+`,`+tt.rest+`}`)
			a.want(t, 200)
			want := gateway.Usage{Calls: 1, InputTokens: tt.input, OutputTokens: 2}
			if got := m.only(t); got.usage != want || got.model != "scripted/echo" {
				t.Errorf("%s: counted %+v, want %+v", tt.path, got, want)
			}
			if stream == "true" && tt.path == "/v1/chat/completions" && strings.Contains(a.body, "usage") {
				t.Errorf("answer = %s", a.body)
			}
		}
	}
}

// To count tokens runs no model.
func TestScriptedCountIsFree(t *testing.T) {
	m := newMeter()
	send(t, http.MethodPost, serveMetered(t, "", m)+"/v1/messages/count_tokens", `{"model":"scripted/echo","messages":[{"role":"user","content":"hi"}]}`).want(t, 200, `{"input_tokens":`)
	m.none(t)
}

func TestCostIsTold(t *testing.T) {
	tests := []struct {
		name, header, original, body string
		want                         float64
	}{
		{"header", "0.25", "0.5", `{"usage":{"prompt_tokens":1,"cost":0.125}}`, 0.25},
		{"no number", "None", "0.5", `{"usage":{"prompt_tokens":1}}`, 0.5},
		{"zero", "0.0", "0", `{"usage":{"prompt_tokens":1,"cost":0.125}}`, 0.125},
		{"nonsense", "NaN", "+Inf", `{"usage":{"prompt_tokens":1,"cost":{"total":1}}}`, 0},
		{"negative", "-1", "", `{"usage":{"prompt_tokens":1,"cost":-1}}`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMeter()
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Litellm-Response-Cost", tt.header)
				w.Header().Set("X-Litellm-Response-Cost-Original", tt.original)
				_, _ = io.WriteString(w, tt.body)
			})
			send(t, http.MethodPost, serveMetered(t, up.URL, m)+"/v1/chat/completions", ask).want(t, 200)
			if got := m.only(t).usage.Cost; got != tt.want {
				t.Errorf("cost = %v, want %v", got, tt.want)
			}
		})
	}
}

// Answers that are to be read are not asked for in gzip. One that comes so all the same
// is unpacked, and counted.
func TestZippedAnswersAreCounted(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, `{"usage":{"prompt_tokens":5,"completion_tokens":6}}`)
	_ = z.Close()
	stubborn := false
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") == "" && !stubborn {
			_, _ = io.WriteString(w, `{"usage":{"prompt_tokens":5,"completion_tokens":6}}`)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped.Bytes())
	})
	m := newMeter()
	at := serveMetered(t, up.URL, m)
	a := send(t, http.MethodPost, at+"/v1/chat/completions", ask, "Accept-Encoding", "gzip")
	if got := m.only(t).usage; got != (gateway.Usage{Calls: 1, InputTokens: 5, OutputTokens: 6}) || a.header.Get("Content-Encoding") != "" {
		t.Errorf("usage = %+v, headers %v", got, a.header)
	}
	stubborn = true
	a = send(t, http.MethodPost, at+"/v1/chat/completions", ask, "Accept-Encoding", "gzip")
	if got := m.only(t).usage; got != (gateway.Usage{Calls: 1, InputTokens: 5, OutputTokens: 6}) || a.body != `{"usage":{"prompt_tokens":5,"completion_tokens":6}}` {
		t.Errorf("usage = %+v, answer %q", got, a.body)
	}
}

// chunk is one event of a stream that says ten letters.
const chunk = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"ten chars."}}]}` + "\n\n"

func TestCutStreamIsEstimated(t *testing.T) {
	for name, tt := range map[string]struct {
		path, sent string
		want       gateway.Usage
	}{
		"chat": {"/v1/chat/completions", chunk + chunk + `data: {"choices":[{"delta":{"content":"ha`, gateway.Usage{Calls: 1, InputTokens: 16, OutputTokens: 5, Estimated: true}},
		"json": {"/v1/chat/completions", `{"choices":[{"message":{"content":"ten chars."}}],"usa`, gateway.Usage{Calls: 1, InputTokens: 16, OutputTokens: 3, Estimated: true}},
		"anthropic": {
			"/v1/messages", messageStart + "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"ten chars.\"}}\n\n",
			gateway.Usage{Calls: 1, InputTokens: 2_145, OutputTokens: 3, CacheReadTokens: 2_000, CacheWriteTokens: 100, Estimated: true},
		},
		"after the usage": {
			"/v1/chat/completions", chunk + `data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11}}` + "\n\n",
			gateway.Usage{Calls: 1, InputTokens: 5, OutputTokens: 6},
		},
	} {
		t.Run(name, func(t *testing.T) {
			kind := events
			if name == "json" {
				kind = "application/json"
			}
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				hijack(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", kind, len(tt.sent), tt.sent))
			})
			m := newMeter()
			res, err := http.Post(serveMetered(t, up.URL, m)+tt.path, "application/json", strings.NewReader(ask))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if text, err := io.ReadAll(res.Body); string(text) != tt.sent || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("read %q, %v", text, err)
			}
			if diff := cmp.Diff(tt.want, m.only(t).usage); diff != "" {
				t.Errorf("usage (-want +got):\n%s", diff)
			}
		})
	}
}

// A client that leaves pays for what was asked and what it may have read.
func TestLeavingIsCounted(t *testing.T) {
	for _, begun := range []bool{false, true} {
		started := make(chan struct{})
		up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			if begun {
				w.Header().Set("Content-Type", events)
				_, _ = io.WriteString(w, chunk)
				_ = http.NewResponseController(w).Flush()
			} else {
				close(started)
			}
			<-r.Context().Done()
		})
		m := newMeter()
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, serveMetered(t, up.URL, m)+"/v1/chat/completions", strings.NewReader(ask))
		if err != nil {
			t.Fatal(err)
		}
		if !begun {
			go func() { <-started; cancel() }()
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_, _ = io.ReadFull(res.Body, make([]byte, len(chunk)))
			cancel()
			res.Body.Close()
		}
		want := gateway.Usage{Calls: 1, InputTokens: 16, Estimated: true}
		if begun {
			want.OutputTokens = 3
		}
		if got := m.only(t).usage; got != want {
			t.Errorf("begun %v: usage = %+v, want %+v", begun, got, want)
		}
		cancel()
	}
}

func TestImagesAreEstimatedByNumber(t *testing.T) {
	m := newMeter()
	up := answering(t, "application/json", `{"choices":[{"message":{"content":"seen"}}]}`)
	image := strings.Repeat("QUJD", 1<<18)
	body := `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + image + `"}},` +
		`{"type":"image","source":{"type":"base64","data":"` + image + `"}}]}]}`
	send(t, http.MethodPost, serveMetered(t, up.URL, m)+"/v1/chat/completions", body).want(t, 200)
	got := m.only(t).usage
	if got.InputTokens < 3_000 || got.InputTokens > 3_100 || got.OutputTokens != 1 || !got.Estimated {
		t.Errorf("usage = %+v", got)
	}
}

// Calls come at once, and each is counted once.
func TestCallsAtOnce(t *testing.T) {
	m, up := newMeter(), answering(t, events, chunk+`data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}`+"\n\ndata: [DONE]\n\n")
	at := serveMetered(t, up.URL, m)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			body := `{"model":"m","stream":true}`
			if a := send(t, http.MethodPost, at+"/v1/chat/completions", body); a.body != chunk+"data: [DONE]\n\n" {
				t.Errorf("answer = %s", a.body)
			}
		})
	}
	wg.Wait()
	for range 20 {
		if got := (<-m.counts).usage; got != (gateway.Usage{Calls: 1, InputTokens: 5, OutputTokens: 6}) {
			t.Errorf("usage = %+v", got)
		}
	}
	m.none(t)
}

// FuzzUsage holds that how a stream is cut into pieces does not matter, and that nothing
// that comes as an answer is anything but passed on.
func FuzzUsage(f *testing.F) {
	for _, s := range samples {
		f.Add(s.path, s.kind, []byte(s.answer), 7)
	}
	f.Add("/v1/chat/completions", events, []byte(chunk+"data: [DONE]"), 1)
	f.Fuzz(func(t *testing.T, path, kind string, answer []byte, size int) {
		whole := gateway.ScanUsage(path, kind, [][]byte{answer})
		size = max(1, min(size, len(answer)))
		var pieces [][]byte
		for rest := answer; len(rest) > 0; {
			n := min(size, len(rest))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		if got := gateway.ScanUsage(path, kind, pieces); got != whole {
			t.Errorf("in pieces of %d: %+v, as a whole: %+v", size, got, whole)
		}
		if whole.InputTokens < 0 || whole.OutputTokens < 0 || whole.CacheReadTokens+whole.CacheWriteTokens < 0 || whole.Cost < 0 {
			t.Errorf("usage = %+v", whole)
		}
		if got := gateway.PassChunks(pieces); !bytes.Contains(answer, []byte(`"usage"`)) && !bytes.Equal(got, answer) {
			t.Errorf("%q became %q", answer, got)
		}
		if !json.Valid(answer) {
			return
		}
		if n := gateway.EstimateInput(answer); n < 0 || n > int64(len(answer))*2_000 {
			t.Errorf("estimate of %d bytes = %d", len(answer), n)
		}
	})
}

// What only begins like a file is text, and counts by its length.
func TestTextThatPosesAsAnImage(t *testing.T) {
	words := strings.Repeat("word ", 2000)
	for _, body := range []string{
		`{"messages":[{"content":"data:` + words + `"}]}`, `{"messages":[{"content":"data:image/png;base64,` + words + `"}]}`,
		`{"url":"data:image/png;base64,` + words + `"}`, `{"data":"` + words + `"}`, `{"content":"data:image/png;base64,` + strings.Repeat("A", 10_000) + `"}`,
	} {
		if got := gateway.EstimateInput([]byte(body)); got < 2_400 {
			t.Errorf("%.60s is %d tokens", body, got)
		}
	}
	for _, body := range []string{
		`{"image_url":{"url":"data:image/png;base64,` + strings.Repeat("A", 10_000) + `"}}`, `{"source":{"data":"` + strings.Repeat("A", 10_000) + `"}}`,
	} {
		if got := gateway.EstimateInput([]byte(body)); got > 1_600 {
			t.Errorf("%.60s is %d tokens", body, got)
		}
	}
}
