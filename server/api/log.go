package api

import (
	"log/slog"
	"net/http"
	"time"
)

// A recorder notes what the log says of a request.
type recorder struct {
	http.ResponseWriter
	route  string // empty: no route matched
	status int
	bytes  int64
}

// Unwrap lets http.ResponseController reach the connection.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(b []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	n, err := rec.ResponseWriter.Write(b)
	rec.bytes += int64(n)
	return n, err
}

// logged writes one line a request, at its end: no query, no header, no body. Reads
// that went well are for debugging only.
func (a *API) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		defer a.logRequest(r, rec, time.Now())
		next.ServeHTTP(rec, r)
	})
}

func (a *API) logRequest(r *http.Request, rec *recorder, began time.Time) {
	level := slog.LevelInfo
	if safe(r.Method) && rec.status < http.StatusBadRequest {
		level = slog.LevelDebug
	}
	if !a.cfg.Log.Enabled(r.Context(), level) {
		return
	}
	a.cfg.Log.LogAttrs(r.Context(), level, "request", slog.String("method", r.Method), slog.String("route", rec.route),
		slog.Int("status", rec.status), slog.Duration("duration", time.Since(began)), slog.Int64("bytes", rec.bytes))
}
