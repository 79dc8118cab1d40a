package gateway_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"lap/server/gateway"
)

func TestUsageIsAskedFor(t *testing.T) {
	tests := []struct{ name, request, want string }{
		{"no stream", `{"model":"m"}`, `{"model":"m"}`},
		{"stream false", `{"stream":false}`, `{"stream":false}`},
		{"plain", ` {"model":"m","stream":true}`, ` {"stream_options":{"include_usage":true},"model":"m","stream":true}`},
		{"asked for", `{"stream":true,"stream_options":{"include_usage":true}}`, `{"stream":true,"stream_options":{"include_usage":true}}`},
		{"declined", `{"stream":true,"stream_options":{"a":[1],"include_usage":false,"b":2}}`, `{"stream":true,"stream_options":{"a":[1],"include_usage":true,"b":2}}`},
		{"other options", `{"stream_options": { "include_obfuscation":false},"stream":true}`, `{"stream_options": {"include_usage":true, "include_obfuscation":false},"stream":true}`},
		{"no options", `{"stream_options":{ },"stream":true}`, `{"stream_options":{"include_usage":true},"stream":true}`},
		{"null", `{"stream_options":null,"stream":true}`, `{"stream_options":{"include_usage":true},"stream":true}`},
		{"in a message", `{"messages":[{"stream":true}]}`, `{"messages":[{"stream":true}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := gateway.Spliced(tt.request)
			if got != tt.want || !json.Valid([]byte(got)) {
				t.Errorf("%s became %s, want %s", tt.request, got, tt.want)
			}
		})
	}
}

const (
	first     = `data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}` + "\n\n"
	last      = `data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}` + "\n\n"
	onlyUsage = `data: {"id":"c","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11}}` + "\n\n"
	done      = "data: [DONE]\n\n"
)

// The chunk that only tells the usage is taken out; every other byte stays.
func TestUsageChunkIsTakenOut(t *testing.T) {
	tests := []struct{ name, stream, want string }{
		{"openai", first + last + onlyUsage + done, first + last + done},
		{"litellm", first + `data: {"choices":[{"index":0,"delta":{"content":null}}],"usage":{"prompt_tokens":5}}` + "\n\n" + done, first + done},
		{"completions", `data: {"choices":[{"text":"a"}]}` + "\n\n" + `data: {"choices":[{"text":"","index":0,"finish_reason":null}],"usage":{}}` + "\n\n" + done, `data: {"choices":[{"text":"a"}]}` + "\n\n" + done},
		{"returns", strings.ReplaceAll(first+onlyUsage+done, "\n", "\r\n"), strings.ReplaceAll(first+done, "\n", "\r\n")},
		{"no end", first + strings.TrimRight(onlyUsage, "\n"), first},
		{"cut in it", first + onlyUsage[:40], first + onlyUsage[:40]},
		{"twice", onlyUsage + first + onlyUsage + onlyUsage, first},
		{"comments", ": hi\n\n" + onlyUsage + ": ho\n\n" + done, ": hi\n\n" + ": ho\n\n" + done},
		{"in an event with an id", "id: 1\n" + onlyUsage + done, "id: 1\n\n" + done},
		{"words beside the usage", `data: {"choices":[{"delta":{"content":"x"}}],"usage":{}}` + "\n\n", `data: {"choices":[{"delta":{"content":"x"}}],"usage":{}}` + "\n\n"},
		{"a role beside the usage", `data: {"choices":[{"delta":{"role":"assistant"}}],"usage":{}}` + "\n\n", `data: {"choices":[{"delta":{"role":"assistant"}}],"usage":{}}` + "\n\n"},
		{"an end beside the usage", `data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{}}` + "\n\n", `data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{}}` + "\n\n"},
		{"filter results", `data: {"choices":[],"prompt_filter_results":[]}` + "\n\n", `data: {"choices":[],"prompt_filter_results":[]}` + "\n\n"},
		{"an error", `data: {"error":{"message":"\"usage\""}}` + "\n\n", `data: {"error":{"message":"\"usage\""}}` + "\n\n"},
		{"long lines", "data: " + strings.Repeat("x", 200_000) + "\n\n" + onlyUsage + done, "data: " + strings.Repeat("x", 200_000) + "\n\n" + done},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 7, 1 << 20} {
				var pieces [][]byte
				for rest := []byte(tt.stream); len(rest) > 0; {
					n := min(size, len(rest))
					pieces = append(pieces, rest[:n])
					rest = rest[n:]
				}
				if got := string(gateway.PassChunks(pieces)); got != tt.want {
					t.Errorf("in pieces of %d: %q, want %q", size, got, tt.want)
				}
			}
		})
	}
}

func TestStreamIsAsTheSandboxAskedForIt(t *testing.T) {
	for _, path := range []string{"/v1/chat/completions", "/completions"} {
		up := answering(t, events, first+last+onlyUsage+done)
		m := newMeter()
		at := serveMetered(t, up.URL, m)
		a := send(t, http.MethodPost, at+path, `{"model":"m","stream":true}`)
		if a.status != 200 || a.body != first+last+done {
			t.Errorf("answer = %d %q", a.status, a.body)
		}
		if got := up.only(t); got.body != `{"stream_options":{"include_usage":true},"model":"m","stream":true}` {
			t.Errorf("the upstream got %s", got.body)
		}
		if got := m.only(t).usage; got != (gateway.Usage{Calls: 1, InputTokens: 5, OutputTokens: 6}) {
			t.Errorf("usage = %+v", got)
		}
	}
}

// Without a meter nothing is asked for.
func TestUnmeteredStreamIsUntouched(t *testing.T) {
	up := answering(t, events, first+onlyUsage+done)
	at, _ := serve(t, up.URL)
	a := send(t, http.MethodPost, at+"/v1/chat/completions", `{"model":"m","stream":true}`)
	if a.body != first+onlyUsage+done || up.only(t).body != `{"model":"m","stream":true}` {
		t.Errorf("answer = %q", a.body)
	}
}

// The first pieces come while the rest has not been written.
func TestCountedStreamIsFlushed(t *testing.T) {
	next := make(chan struct{})
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", events)
		for _, piece := range []string{first, last, onlyUsage + done} {
			_, _ = io.WriteString(w, piece)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
			}
		}
	})
	m := newMeter()
	res, err := http.Post(serveMetered(t, up.URL, m)+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for _, want := range []string{first, last, done} {
		got, err := lines.ReadString('\n')
		blank, err2 := lines.ReadString('\n')
		if err != nil || err2 != nil || got+blank != want {
			t.Fatalf("read %q, %v, %v, want %q", got+blank, err, err2, want)
		}
		next <- struct{}{}
	}
	if got := m.only(t).usage; got != (gateway.Usage{Calls: 1, InputTokens: 5, OutputTokens: 6}) {
		t.Errorf("usage = %+v", got)
	}
}

// An upstream that does not know the option gets the request as it was.
func TestOptionIsTakenBack(t *testing.T) {
	const refusal = `{"error":{"message":"Unrecognized request argument supplied: stream_options"}}`
	plain := first + `data: {"choices":[{"delta":{"content":"ten chars."}}]}` + "\n\n" + done
	asked := ""
	up := newUpstream(t, nil)
	up.seen = func(w http.ResponseWriter, _ *http.Request) {
		got := up.requests()
		if asked = got[len(got)-1].body; strings.Contains(asked, "stream_options") || strings.Contains(asked, "bad") {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, strings.ReplaceAll(refusal, "stream_options", map[bool]string{true: "bad", false: "stream_options"}[strings.Contains(asked, "bad")]))
			return
		}
		w.Header().Set("Content-Type", events)
		_, _ = io.WriteString(w, plain+onlyUsage)
	}
	m := newMeter()
	at := serveMetered(t, up.URL, m)
	a := send(t, http.MethodPost, at+"/v1/chat/completions", `{"model":"m","stream":true}`)
	if a.status != 200 || a.body != plain+onlyUsage { // it was not asked for, and so is not taken out
		t.Errorf("answer = %d %q", a.status, a.body)
	}
	if got := up.requests(); len(got) != 2 || got[1].body != `{"model":"m","stream":true}` || got[1].header.Get("Authorization") != "Bearer "+realKey {
		t.Errorf("the upstream got %v", got)
	}
	m.only(t)
	a = send(t, http.MethodPost, at+"/v1/chat/completions", `{"model":"bad","stream":true}`)
	if a.status != 400 || a.body != strings.ReplaceAll(refusal, "stream_options", "bad") || len(up.requests()) != 3 {
		t.Errorf("answer = %d %q after %d requests", a.status, a.body, len(up.requests()))
	}
	if got := m.only(t).usage; got != (gateway.Usage{}) {
		t.Errorf("usage = %+v", got)
	}
}
