package api

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/julienschmidt/httprouter"
)

// metrics answers GET /api/v1/metrics in the text format of Prometheus.
func (a *API) metrics(w http.ResponseWriter, _ *http.Request, _ httprouter.Params) error {
	var b bytes.Buffer
	if _, err := a.cfg.Metrics.WriteTo(&b); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	_, _ = b.WriteTo(w) // the client has gone
	return nil
}
