package api_test

import (
	"errors"
	"io"
	"testing"

	"lap/server/api"
)

// counters is a text of metrics.
type counters string

func (c counters) WriteTo(w io.Writer) (int64, error) {
	if c == "" {
		return 0, errors.New("no metrics")
	}
	n, err := io.WriteString(w, string(c))
	return int64(n), err
}

func TestMetrics(t *testing.T) {
	const path, text = "/api/v1/metrics", "# TYPE a counter\na 1\n"
	w := newWorld(t, func(cfg *api.Config) { cfg.Metrics = counters(text) })
	r := w.do(t, "GET", path, nil).want(t, 200)
	if r.body != text || r.header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("metrics = %q, %v", r.body, r.header)
	}
	w.send(t, "GET", path, nil, nil).wantError(t, 401, "unauthorized")
	w.do(t, "POST", path, nil).wantError(t, 405, "method not allowed")

	w = newWorld(t, func(cfg *api.Config) { cfg.Metrics, cfg.OpenMetrics = counters(text), true })
	w.send(t, "GET", path, nil, nil).want(t, 200)
	w.send(t, "GET", agents, nil, nil).want(t, 401)

	w = newWorld(t, func(cfg *api.Config) { cfg.Metrics = counters("") })
	w.do(t, "GET", path, nil).wantError(t, 500, "internal error")
	w = newWorld(t)
	w.do(t, "GET", path, nil).wantError(t, 404, "not found")
}
