package gateway_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// Whatever names a scripted model does not leave the host.
func TestScriptedModelsStay(t *testing.T) {
	up := newUpstream(t, nil)
	at, _ := serve(t, up.URL)
	const rest = `"messages":[{"role":"user","content":"hi"}]}`
	tests := []struct {
		name, path, body string
		status           int
		text             string
	}{
		{"plain", "/v1/chat/completions", `{"model":"scripted/echo",` + rest, 200, `"content":"hi"`},
		{"without v1", "/chat/completions", `{"model":"scripted/echo",` + rest, 200, `"content":"hi"`},
		{"escaped", "/v1/chat/completions", `{"model":"\u0073cripted\/echo",` + rest, 200, `"content":"hi"`},
		{"escaped member", "/v1/chat/completions", `{"mod\u0065l":"scripted/echo",` + rest, 200, `"content":"hi"`},
		{"first of two", "/v1/chat/completions", `{"model":"scripted/echo","model":"gpt-x",` + rest, 200, `"content":"hi"`},
		{"last of two", "/v1/chat/completions", `{"model":"gpt-x","model":"scripted/echo",` + rest, 200, `"content":"hi"`},
		{"last of two scripted", "/v1/chat/completions", `{"model":"scripted/nope","model":"scripted/echo",` + rest, 200, `"content":"hi"`},
		{"other case", "/v1/chat/completions", `{"Model":"scripted/echo","MODEL":5,` + rest, 200, `"content":"hi"`},
		{"in the query", "/v1/chat/completions?model=scripted%2Fecho", `{"model":"gpt-x",` + rest, 200, `"content":"hi"`},
		{"messages", "/v1/messages?beta=true", `{"model":"scripted/echo",` + rest, 200, `"content":[{"type":"text","text":"hi"}]`},
		{"count of messages", "/v1/messages/count_tokens?beta=true", `{"model":"scripted/echo",` + rest, 200, `{"input_tokens":`},
		{"responses", "/v1/responses", `{"model":"scripted/echo","input":"hi"}`, 200, `"text":"hi"`},
		{"compact", "/v1/responses/compact", `{"model":"scripted/echo"}`, 400, `"code":"unsupported_api"`},
		{"embeddings", "/embeddings", `{"model":"scripted/echo"}`, 400, "not /embeddings"},
		{"gemini", "/v1beta/models/scripted/echo:generateContent", `{}`, 400, `"code":"unsupported_api"`},
		{"no JSON", "/v1/chat/completions", `{"model":"scripted/echo"`, 400, `"code":"invalid_json"`},
		{"JSON and more", "/v1/chat/completions", `{"model":"gpt-x"}{"model":"scripted/echo"}`, 400, `"code":"invalid_json"`},
		{"array", "/v1/chat/completions", `[{"model":"scripted/echo"}]`, 400, `"code":"invalid_json"`},
		{"not a number", "/v1/chat/completions", `{"model":"gpt-x","temperature":NaN}`, 400, `"code":"invalid_json"`},
		{"deep", "/v1/chat/completions", strings.Repeat(`{"a":`, 20000), 400, `"code":"invalid_json"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			send(t, http.MethodPost, at+tt.path, tt.body, "Content-Type", "multipart/form-data; boundary=x").want(t, tt.status, tt.text)
		})
	}
	send(t, http.MethodPost, at+"/v1/chat/completions", "zipped", "Content-Encoding", "gzip").want(t, 415, "without Content-Encoding")
	if got := up.requests(); len(got) > 0 {
		t.Errorf("the upstream got %v", got)
	}
}

func TestOtherModelsGo(t *testing.T) {
	for _, body := range []string{`{"model":"gpt-x","metadata":{"model":"scripted/echo"}}`, `{"model":"my-scripted/echo"}`, `{"model":null}`, `{"model":["x"]}`, `{}`, ""} {
		up := newUpstream(t, nil)
		at, _ := serve(t, up.URL)
		send(t, http.MethodPost, at+"/v1/responses/x/cancel", body).want(t, 200)
		if got := up.only(t).body; got != body {
			t.Errorf("the upstream got %q, want %q", got, body)
		}
	}
}

// blank is an endless body that costs nothing to make.
type blank struct{}

func (blank) Read(p []byte) (int, error) { return len(p), nil }

func TestBodyLimit(t *testing.T) {
	up := newUpstream(t, nil)
	g := newGateway(t, up.URL)
	tests := []struct {
		name, path, kind string
		size             int64
		status           int
		text             string
	}{
		{"as large as may be", "/v1/chat/completions", "", 96 << 20, 400, "no JSON"},
		{"one more", "/v1/messages", "", 96<<20 + 1, 413, `{"type":"request_too_large","message":"the request body is larger than 96 MiB"`},
		{"scripted", "/v1/chat/completions", "scripted", 16<<20 + 1, 413, "larger than 16 MiB beside its images"},
		{"upload", "/v1/audio/transcriptions", "multipart/form-data; boundary=x", 96<<20 + 1, 413, "larger than 96 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := io.LimitReader(blank{}, tt.size)
			if tt.kind == "scripted" {
				body = strings.NewReader(`{"model":"scripted/echo","messages":[{}]}` + strings.Repeat(" ", int(tt.size)))
			}
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, tt.path, body)
			req.Header.Set("Content-Type", tt.kind)
			rec := httptest.NewRecorder()
			g.ServeHTTP(rec, req)
			answer{status: rec.Code, body: rec.Body.String()}.want(t, tt.status, tt.text)
		})
	}
}

func TestUploadIsStreamed(t *testing.T) {
	arrived := make(chan string, 1)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first := make([]byte, 5)
		_, _ = io.ReadFull(r.Body, first)
		arrived <- string(first)
		rest, _ := io.ReadAll(r.Body)
		_, _ = w.Write(rest)
	}))
	defer up.Close()
	at, _ := serve(t, up.URL)
	body, more := io.Pipe()
	go func() {
		_, _ = io.WriteString(more, "first")
		if got := <-arrived; got != "first" { // before the rest has been sent
			t.Errorf("the upstream got %q", got)
		}
		_, _ = io.WriteString(more, "rest")
		_ = more.Close()
	}()
	res, err := http.Post(at+"/v1/audio/transcriptions", "multipart/form-data; boundary=x", body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || string(text) != "rest" {
		t.Errorf("answer = %q, %v", text, err)
	}
}

func TestLeavingInTheMiddleOfABody(t *testing.T) {
	up := newUpstream(t, nil)
	at, _ := serve(t, up.URL)
	conn, err := net.Dial("tcp", strings.TrimPrefix(at, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 100\r\n\r\n{\"model\":"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(conn) // an answer or none: nobody is there to read it
	conn.Close()
	if strings.Contains(string(rest), "200 OK") || len(up.requests()) > 0 {
		t.Errorf("half a request was answered: %s", rest)
	}
}

// stuck reports when it is read, and ends in an error when it is told to.
type stuck struct {
	reached chan<- struct{}
	end     <-chan struct{}
}

func (s stuck) Read([]byte) (int, error) {
	s.reached <- struct{}{}
	<-s.end
	return 0, io.ErrUnexpectedEOF
}

// One sandbox cannot make the host hold as many large requests as it can send.
func TestMemoryLimit(t *testing.T) {
	at, reached, end := newGateway(t, ""), make(chan struct{}), make(chan struct{})
	post := func(body io.Reader) answer {
		rec := httptest.NewRecorder()
		at.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", body))
		return answer{rec.Code, rec.Header(), rec.Body.String()}
	}
	answers := make(chan answer)
	held := 0
	for full := false; !full && held < 20; {
		go func() { answers <- post(io.MultiReader(io.LimitReader(blank{}, 60<<20), stuck{reached, end})) }()
		select {
		case <-reached:
			held++
		case a := <-answers:
			full = true
			a.want(t, 503, "too_much_at_once")
			if a.header.Get("Retry-After") != "1" {
				t.Errorf("headers = %v", a.header)
			}
		}
	}
	if held != 3 {
		t.Errorf("%d requests of 60 MiB were held", held)
	}
	post(strings.NewReader(`{"model":"scripted/echo","messages":[{"role":"user","content":"small"}]}`)).want(t, 200, "small")
	close(end)
	for range held {
		(<-answers).want(t, 400, "cannot be read")
	}
	post(io.LimitReader(blank{}, 60<<20)).want(t, 400, "no JSON")
}

// Images of more bytes than a text may have are within the limits, and cost the host
// little more than their own bytes.
func TestScriptedModelsTakeManyImages(t *testing.T) {
	g := newGateway(t, "")
	image := `,{"type":"image_url","image_url":{"url":"data:image/png;base64,` + strings.Repeat("A", 7<<20) + `"}}`
	body := `{"model":"scripted/echo","messages":[{"role":"user","content":[{"type":"text","text":"see"}` + strings.Repeat(image, 4) + `]}]}`
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	rec := httptest.NewRecorder()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	g.ServeHTTP(rec, req)
	runtime.ReadMemStats(&after)
	answer{status: rec.Code, body: rec.Body.String()}.want(t, 200, `"content":"see\n[4 images]"`, `"prompt_tokens":60`)
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(len(body))*3/2 {
		t.Errorf("a request of %d MiB took %d MiB of memory", len(body)>>20, took>>20)
	}
}
