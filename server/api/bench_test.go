package api_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/julienschmidt/httprouter"

	"lap/server/api"
)

// BenchmarkReadAgent reads one agent over HTTP and reports its throughput as a share of
// that of a bare handler which writes the same bytes.
func BenchmarkReadAgent(b *testing.B) {
	w := newWorld(b, func(cfg *api.Config) { cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil)) })
	id := w.newAgent(b, `"name": "bench", "prompt": "You fix bugs.", "env_vars": {"TOKEN": "secret"}, "allow_out": ["api.x.com"]`)
	same := []byte(w.do(b, "GET", agents+"/"+id, nil).body)

	router := httprouter.New()
	router.GET(agents+"/:agent_id", func(w http.ResponseWriter, _ *http.Request, _ httprouter.Params) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(same)
	})
	bare := httptest.NewServer(router)
	defer bare.Close()

	b.ReportAllocs()
	var lap, floor time.Duration
	for b.Loop() { // by turns, so that both see the same machine
		lap += timed(b, w.url+agents+"/"+id)
		floor += timed(b, bare.URL+agents+"/"+id)
	}
	b.ReportMetric(float64(floor)/float64(lap), "of-bare")
	b.ReportMetric(float64(lap.Nanoseconds())/float64(b.N), "lap-ns/op")
}

func timed(b *testing.B, url string) time.Duration {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		b.Fatal(res.Status, err)
	}
	return time.Since(began)
}
