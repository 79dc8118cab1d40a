package gateway_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/server/gateway"
	"lap/server/gateway/scripted"
)

// A notebook is an observer that writes down what it sees.
type notebook struct {
	mu     sync.Mutex // guards what follows
	asked  []string
	status []int
	refuse error
}

func (n *notebook) Asked(_ context.Context, a gateway.Asked) (func(int), error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, strings.Join([]string{a.Method, a.Path, a.Model, string(a.Body)}, " "))
	return func(status int) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.status = append(n.status, status)
	}, n.refuse
}

func TestObserverSeesCallsOfModels(t *testing.T) {
	sent := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "responses") {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-sent // the client has the beginning, before there is an end
	})
	notes := &notebook{}
	g, err := gateway.New(gateway.Config{BaseURL: u.URL, APIKey: realKey, Watch: notes, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	defer server.Close()
	res, err := http.Post(server.URL+"/v1/chat/completions?x=1", "application/json", strings.NewReader(ask))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, len("data: {}\n\n"))); err != nil {
		t.Fatal(err)
	}
	close(sent)
	_ = res.Body.Close()
	for _, call := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/v1/responses", `{"model":"a","model":"b"}`, http.StatusTeapot},
		{"GET", "/v1/models", "", http.StatusOK},
		{"POST", "/v1/keys", "{}", http.StatusForbidden},
		{"POST", "/v1/messages", `{"model":"scripted/echo"}`, http.StatusBadRequest},
	} {
		req, err := http.NewRequestWithContext(t.Context(), call.method, server.URL+call.path, strings.NewReader(call.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != call.want {
			t.Fatalf("%s: %v, %v", call.path, res, err)
		}
		_ = res.Body.Close()
	}
	notes.refuse = &scripted.Error{Status: http.StatusTooManyRequests, Type: "server_error", Message: "slow down"}
	res, err = http.Post(server.URL+"/v1/embeddings", "application/json", strings.NewReader(`{"model":"e"}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusTooManyRequests || !strings.Contains(string(text), "slow down") {
		t.Errorf("the refused call: %d %s, %v", res.StatusCode, text, err)
	}
	server.Close() // all answers are over
	want := []string{
		"POST /v1/chat/completions gpt-x " + ask, `POST /v1/responses a,b {"model":"a","model":"b"}`,
		`POST /v1/messages scripted/echo {"model":"scripted/echo"}`, `POST /v1/embeddings e {"model":"e"}`,
	}
	if diff := cmp.Diff(want, notes.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{200, http.StatusTeapot, http.StatusBadRequest, http.StatusTooManyRequests}, notes.status); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}
