package laptest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lap/laptest"
)

// TestControl looks at what the helpers send, and at what they make of the answers.
func TestControl(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Authorization"), strings.TrimSpace(string(body))))
		if strings.HasSuffix(r.URL.Path, "/requests") {
			_, _ = io.WriteString(w, `{"data":[{"n":1,"at":"2030-01-02T03:04:05.000Z","session_id":"s","agent_id":"a","method":"POST",
				"path":"/v1/chat/completions","model":"scripted/echo","body":{"stream":true},"status":200}]}`)
		} else {
			_, _ = io.WriteString(w, "{}")
		}
	}))
	defer server.Close()
	lap := &laptest.Server{URL: server.URL, Key: "k"}
	lap.Clock(t, 15*time.Minute)
	lap.Faults(t, laptest.Fault{Step: "sandbox.create", Times: 1})
	lap.Reset(t)
	calls := lap.Requests(t)
	want := []string{
		`POST /api/v1/fixture/clock Bearer k {"advance":"15m0s"}`,
		`POST /api/v1/fixture/faults Bearer k {"faults":[{"step":"sandbox.create","times":1}]}`,
		`POST /api/v1/fixture/reset Bearer k {}`,
		`GET /api/v1/fixture/requests Bearer k `,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("requests:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(calls) != 1 || calls[0].N != 1 || calls[0].At.Year() != 2030 || string(calls[0].Body) != `{"stream":true}` || calls[0].Status != 200 {
		t.Errorf("calls = %+v", calls)
	}
}

// TestControlInCleanup has a server that is reset when a test is over.
func TestControlInCleanup(t *testing.T) {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls++
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	lap := &laptest.Server{URL: server.URL, Key: "k"}
	t.Run("test", func(t *testing.T) { t.Cleanup(func() { lap.Reset(t) }) })
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}
