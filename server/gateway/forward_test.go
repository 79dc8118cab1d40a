package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// rawAll sends bytes and returns everything that comes back until the end.
func rawAll(t *testing.T, at, request string) string {
	t.Helper()
	all, err := io.ReadAll(dial(t, at, request))
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// Each piece of a stream reaches the client before the upstream writes the next.
func TestStreamIsFlushed(t *testing.T) {
	next := make(chan struct{})
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, piece := range []string{"data: one\n\n", "data: two\n\n"} {
			_, _ = io.WriteString(w, piece)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
			}
		}
	})
	at, _ := serve(t, up.URL)
	res, err := http.Post(at+"/v1/chat/completions", "application/json", strings.NewReader(ask))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for _, want := range []string{"data: one\n", "data: two\n"} {
		line, err := lines.ReadString('\n')
		if err != nil || line != want {
			t.Fatalf("read %q, %v, want %q", line, err, want)
		}
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("rest = %q, %v", rest, err)
	}
}

func TestClientGone(t *testing.T) {
	for _, begun := range []bool{false, true} {
		started, cancelled := make(chan struct{}), make(chan struct{})
		up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			if begun {
				_, _ = io.WriteString(w, "data: one\n\n")
				_ = http.NewResponseController(w).Flush()
			}
			close(started)
			<-r.Context().Done()
			close(cancelled)
		})
		at, log := serve(t, up.URL)
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, at+"/v1/chat/completions", strings.NewReader(ask))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			<-started
			cancel()
		}()
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want context.Canceled", err)
		}
		<-cancelled
		if strings.Contains(log.String(), "level=WARN") {
			t.Errorf("a client that left is logged as a failure: %s", log)
		}
	}
}

func TestBrokenStreamBreaksOff(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		hijack(w, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\n")
	})
	at, _ := serve(t, up.URL)
	res, err := http.Post(at+"/v1/chat/completions", "application/json", strings.NewReader(ask))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); string(text) != "data:" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %q, %v, want the beginning and an error", text, err)
	}
}

// An answer is unpacked to look for the key in it.
func TestZippedAnswerIsUnpacked(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, `{"ok":true}`)
	_ = z.Close()
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			_, _ = io.WriteString(w, "plain")
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped.Bytes())
	})
	at, _ := serve(t, up.URL)
	a := send(t, http.MethodPost, at+"/v1/chat/completions", ask, "Accept-Encoding", "gzip, deflate, br, zstd")
	if a.body != `{"ok":true}` || a.header.Get("Content-Encoding") != "" {
		t.Errorf("answer = %q, %v", a.body, a.header)
	}
	send(t, http.MethodPost, at+"/v1/chat/completions", ask, "Accept-Encoding", "br").want(t, 200, "plain")
}

func TestErrorsPass(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error":{"message":"slow down","code":"rate"}}`)
	})
	at, _ := serve(t, up.URL)
	a := send(t, http.MethodPost, at+"/v1/chat/completions", ask)
	if a.status != 429 || a.body != `{"error":{"message":"slow down","code":"rate"}}` || a.header.Get("Retry-After") != "7" {
		t.Errorf("answer = %+v", a)
	}
}

func TestUnconfigured(t *testing.T) {
	at, _ := serve(t, "")
	a := send(t, http.MethodPost, at+"/v1/chat/completions", ask)
	a.want(t, 503, `{"error":{"message":"lap has no model gateway`, "LITELLM_API_BASE", "LITELLM_API_KEY", "scripted/", `"type":"server_error"`, `"code":"no_model_gateway"`)
	if a.header.Get("X-Should-Retry") != "false" {
		t.Errorf("headers = %v", a.header)
	}
	send(t, http.MethodPost, at+"/v1/messages", ask).want(t, 503, `{"type":"error","error":{"type":"api_error","message":"lap has no model gateway`)
	send(t, http.MethodPost, at+"/v1/audio/transcriptions", "--x", "Content-Type", "multipart/form-data; boundary=x").want(t, 503, "LITELLM_API_BASE")
	send(t, http.MethodPost, at+"/key/generate", "").want(t, 403)
}

func TestModelList(t *testing.T) {
	at, _ := serve(t, "")
	client := openai.NewClient(option.WithBaseURL(at+"/v1"), option.WithAPIKey("stub"))
	page, err := client.Models.List(t.Context())
	if err != nil || len(page.Data) != 1 || page.Data[0].ID != "scripted/echo" {
		t.Errorf("models = %+v, %v", page, err)
	}
	send(t, http.MethodGet, at+"/models", "").want(t, 200, `{"object":"list","data":[{"id":"scripted/echo","object":"model"`)
	send(t, http.MethodGet, at+"/v1/models/scripted/echo", "").want(t, 200, `{"id":"scripted/echo"`)
	send(t, http.MethodGet, at+"/v1/models/scripted/nope", "").want(t, 404, `"model_not_found"`)
	send(t, http.MethodGet, at+"/v1/models/gpt-x", "").want(t, 503)
}

// A body that was judged as JSON is sent as JSON.
func TestBodiesAreJSON(t *testing.T) {
	up := newUpstream(t, nil)
	at, _ := serve(t, up.URL)
	send(t, http.MethodPost, at+"/v1/chat/completions", `{"model":"gpt-x","user":"&model=dear&"}`, "Content-Type", "application/x-www-form-urlencoded").want(t, 200)
	if got := up.only(t).header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type = %q", got)
	}
}
