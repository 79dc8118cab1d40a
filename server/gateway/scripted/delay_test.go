package scripted_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// askAs asks as a harness does that names its session, and returns the status.
func askAs(t *testing.T, url, header, session, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(header, session)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// play answers a request without a network, so that time can be made to pass.
func play(t *testing.T, ctx context.Context, dir, path, body string) *httptest.ResponseRecorder { //nolint:revive // t first, as everywhere
	t.Helper()
	rec := httptest.NewRecorder()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body))
	newGateway(t, dir).ServeHTTP(rec, req)
	return rec
}

func TestDelays(t *testing.T) {
	dir := script(t, "s", "turns: [{text: eight by eight is many, delay: 5s, chunk_delay: 2s}]")
	for path, end := range map[string]string{chatPath: "data: [DONE]", messagesPath: `data: {"type":"message_stop"}`, responsesPath: `"metadata":{}}}`} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			rec := play(t, t.Context(), dir, path, `{"model":"scripted/s","stream":true,"input":"hi",`+hi+`}`)
			if took := time.Since(start); took != 11*time.Second {
				t.Errorf("%s: a stream of three pieces took %v, want 5s and three times 2s", path, took)
			}
			if !strings.HasSuffix(rec.Body.String(), end+"\n\n") {
				t.Errorf("%s: answer = %s", path, rec.Body)
			}
		})
	}
}

func TestDelayedError(t *testing.T) {
	dir := script(t, "s", "turns: [{delay: 3s, error: {status: 529, message: busy}}]")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		rec := play(t, t.Context(), dir, chatPath, `{"model":"scripted/s",`+hi+`}`)
		if took := time.Since(start); took != 3*time.Second || rec.Code != 529 {
			t.Errorf("status %d after %v, want 529 after 3s", rec.Code, took)
		}
	})
}

func TestClientLeavesDuringDelay(t *testing.T) {
	tests := []struct{ name, script string }{
		{"before the answer", "turns: [{text: a, delay: 30m}]"},
		{"between pieces", "turns: [{text: a, chunk_delay: 30m}]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := script(t, "s", tt.script)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				rec := play(t, ctx, dir, chatPath, `{"model":"scripted/s","stream":true,`+hi+`}`)
				if took := time.Since(start); took != time.Second {
					t.Errorf("gave up after %v, want 1s", took)
				}
				if strings.Contains(rec.Body.String(), "DONE") {
					t.Errorf("answer = %s", rec.Body)
				}
			})
		})
	}
}
