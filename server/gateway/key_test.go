package gateway_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestKeyPlacement(t *testing.T) {
	bearer := "Bearer " + realKey
	tests := []struct {
		name, path    string
		header        []string
		place, wanted string
	}{
		{"none", "/v1/chat/completions", nil, "Authorization", bearer},
		{"openai", "/v1/chat/completions", []string{"Authorization", "Bearer stub"}, "Authorization", bearer},
		{"basic", "/v1/chat/completions", []string{"Authorization", "Basic c3R1Yg=="}, "Authorization", bearer},
		{"anthropic", "/v1/messages", []string{"x-api-key", "stub"}, "X-Api-Key", realKey},
		{"anthropic with a token too", "/v1/messages", []string{"x-api-key", "stub", "Authorization", "Bearer stub"}, "X-Api-Key", realKey},
		{"gemini", "/v1beta/models/g:generateContent", []string{"x-goog-api-key", "stub"}, "X-Goog-Api-Key", realKey},
		{"gemini in the query", "/v1beta/models/g:generateContent?key=stub", nil, "X-Goog-Api-Key", realKey},
		{"query elsewhere", "/v1/chat/completions?api_key=stub", nil, "Authorization", bearer},
		{"azure", "/v1/chat/completions", []string{"api-key", "stub"}, "Api-Key", realKey},
		{"litellm", "/v1/chat/completions", []string{"x-litellm-api-key", "Bearer stub", "Authorization", "Bearer stub"}, "X-Litellm-Api-Key", realKey},
		{"all", "/v1/chat/completions", []string{"api-key", "stub", "x-goog-api-key", "stub", "x-api-key", "stub", "Authorization", "stub"}, "X-Api-Key", realKey},
		{"twice", "/v1/chat/completions", []string{"Authorization", "Bearer stub", "Authorization", "Bearer stub2"}, "Authorization", bearer},
		{"hidden by Connection", "/v1/chat/completions", []string{"Authorization", "Bearer stub", "Connection", "authorization, close"}, "Authorization", bearer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up := newUpstream(t, nil)
			at, _ := serve(t, up.URL)
			send(t, http.MethodPost, at+tt.path, ask, tt.header...).want(t, 200)
			got := up.only(t)
			if !slices.Equal(got.header[tt.place], []string{tt.wanted}) {
				t.Errorf("%s = %q, want %q alone", tt.place, got.header[tt.place], tt.wanted)
			}
			dump := fmt.Sprint(got)
			if n := strings.Count(dump, realKey); n != 1 {
				t.Errorf("the key was sent %d times: %s", n, dump)
			}
			if strings.Contains(dump, "stub") {
				t.Errorf("the client's key was sent on: %s", dump)
			}
		})
	}
}

func TestHeadersThatDoNotPass(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"Set-Cookie", "X-Forwarded-Host", "Forwarded", "Via", "Alt-Svc", "Proxy-Authenticate", "X-Api-Key"} {
			w.Header().Set(name, "dropme")
		}
		w.Header().Set("X-Request-Id", "kept")
	})
	at, _ := serve(t, up.URL)
	request := "POST /v1/chat/completions HTTP/1.1\r\nHost: evil.example\r\nConnection: close, X-Smuggled\r\n"
	for _, name := range []string{
		"Cookie", "X-Forwarded-For", "X-Forwarded-Host", "x_forwarded_proto", "X-Forwarded-Prefix", "Forwarded", "Via", "X-Real-IP", "X-Original-URL",
		"X-Rewrite-URL", "X-HTTP-Method-Override", "Proxy-Authorization", "Proxy-Connection", "TE", "X-Smuggled", "x_api_key", "X_LITELLM_API_KEY",
		"Keep-Alive", "Sec-WebSocket-Key", "X-Envoy-Original-Path", "Ocp-Apim-Subscription-Key", "Trailer",
	} {
		request += name + ": dropme\r\n"
	}
	request += fmt.Sprintf("Anthropic-Version: kept\r\nX-Session-Id: kept\r\nUser-Agent: kept\r\nContent-Length: %d\r\n\r\n%s", len(ask), ask)
	a := raw(t, at, request)
	a.want(t, 200)
	got := up.only(t)
	if dump := fmt.Sprint(got.header); strings.Contains(dump, "dropme") || got.host == "evil.example" {
		t.Errorf("the upstream got host %s, headers %s", got.host, dump)
	}
	for _, name := range []string{"Anthropic-Version", "X-Session-Id", "User-Agent"} {
		if got.header.Get(name) != "kept" {
			t.Errorf("%s did not pass", name)
		}
	}
	if dump := fmt.Sprint(a.header); strings.Contains(dump, "dropme") || a.header.Get("X-Request-Id") != "kept" {
		t.Errorf("the client got headers %s", dump)
	}
}

// A gateway that repeats the key wherever it can does not show it to a sandbox.
func TestKeyIsNeverShown(t *testing.T) {
	quoted, err := json.Marshal(realKey)
	if err != nil {
		t.Fatal(err)
	}
	echoes := "bad key " + realKey + " " + string(quoted) + " " + url.QueryEscape(realKey)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, echoes)
	_ = z.Close()
	tests := []struct {
		name   string
		answer http.HandlerFunc
		status int
		text   string
	}{
		{"error", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, echoes)
		}, 401, "bad key ***"},
		{"zipped error", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write(zipped.Bytes())
		}, 400, "bad key ***"},
		{"error in another encoding", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "x-rot13")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, echoes)
		}, 500, "cannot be shown"},
		{"error that is no gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, echoes)
		}, 500, "cannot be shown"},
		{"endless error", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, strings.Repeat(echoes, 20000))
		}, 500, "longer than 1024 KiB"},
		{"answer", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, echoes) }, 200, "bad key ***"},
		{"zipped answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zipped.Bytes())
		}, 200, "bad key ***"},
		{"answer in another encoding", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "x-rot13")
			_, _ = io.WriteString(w, echoes)
		}, 502, "cannot be passed on"},
		{"stream", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for _, c := range "data: " + echoes + "\n\n" {
				_, _ = io.WriteString(w, string(c))
				_ = http.NewResponseController(w).Flush()
			}
		}, 200, "***"},
		{"header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Your-Key", echoes) }, 200, ""},
		{"hints before", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", realKey)
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
		}, 200, ""},
		{"trailer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Announced")
			_, _ = io.WriteString(w, "{}")
			w.Header().Set("X-Announced", realKey)
			w.Header().Set(http.TrailerPrefix+"X-Sudden", realKey)
		}, 200, "{}"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://user:pw@elsewhere.example/?key="+url.QueryEscape(realKey), http.StatusTemporaryRedirect)
		}, 502, "redirects to http://elsewhere.example (status 307)"},
		{"broken answer", func(w http.ResponseWriter, _ *http.Request) { hijack(w, "HTTP/1.1 2"+realKey+"\r\n\r\n") }, 502, "gave no answer"},
		{"tunnel", func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Key: "+realKey+"\r\n\r\n"+realKey)
		}, 502, "101"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up := newUpstream(t, tt.answer)
			at, log := serve(t, up.URL)
			a := rawAll(t, at, fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nConnection: close\r\nTE: trailers\r\nAccept-Encoding: gzip, br\r\nContent-Length: %d\r\n\r\n%s", len(ask), ask))
			if !strings.HasPrefix(a, fmt.Sprintf("HTTP/1.1 %d ", tt.status)) || !strings.Contains(a, tt.text) {
				t.Errorf("answer = %s, want %d and %q", a, tt.status, tt.text)
			}
			for place, text := range map[string]string{"answer": a, "log": log.String()} {
				if strings.Contains(text, realKey) || strings.Contains(text, "secret+0") || strings.Contains(text, "secret%2B0") {
					t.Errorf("the %s shows the key: %s", place, text)
				}
			}
		})
	}
}

// hijack answers with bytes of its own and hangs up.
func hijack(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, text)
	_ = conn.Close()
}

func TestUserinfoOfBaseURL(t *testing.T) {
	up := newUpstream(t, nil)
	host := strings.TrimPrefix(up.URL, "http://")
	at, _ := serve(t, "http://me:hush@"+host)
	send(t, http.MethodPost, at+"/v1/messages", ask, "x-api-key", "stub").want(t, 200)
	if got := up.only(t).header; got.Get("Authorization") != "Basic bWU6aHVzaA==" || got.Get("X-Api-Key") != realKey {
		t.Errorf("the upstream got headers %v", got)
	}
	up.Close()
	at, log := serve(t, "http://me:hush@"+host)
	a := send(t, http.MethodPost, at+"/v1/chat/completions", ask)
	a.want(t, 502, "the model gateway gave no answer: dial tcp "+host)
	if dump := a.body + log.String(); strings.Contains(dump, "hush") || strings.Contains(dump, realKey) {
		t.Errorf("a secret is shown: %s", dump)
	}
}
