package api_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/julienschmidt/httprouter"
	"golang.org/x/sync/errgroup"

	"lap/server/api"
)

// BenchmarkReadAgent reads one agent over HTTP and reports its throughput as a share of
// that of a bare handler which writes the same bytes.
func BenchmarkReadAgent(b *testing.B) {
	w := newWorld(b, func(cfg *api.Config) { cfg.Log = slog.New(slog.DiscardHandler) })
	id := w.newAgent(b, `"name": "bench", "prompt": "You fix bugs.", "env_vars": {"TOKEN": "secret"}, "allow_out": ["api.x.com"]`)
	same := []byte(w.do(b, "GET", agents+"/"+id, nil).body)

	router := httprouter.New()
	router.GET(agents+"/:agent_id", func(w http.ResponseWriter, _ *http.Request, _ httprouter.Params) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(same)
	})
	bare := httptest.NewServer(router)
	defer bare.Close()

	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: readers}}
	defer client.CloseIdleConnections()
	var lap, floor time.Duration
	for b.Loop() { // by turns, so that both see the same machine
		lap += readMany(b, client, w.url+agents+"/"+id)
		floor += readMany(b, client, bare.URL+agents+"/"+id)
	}
	b.ReportMetric(float64(floor)/float64(lap), "of-bare")
	b.ReportMetric(float64(lap.Microseconds())/float64(b.N*readers*reads), "lap-us/read")
	b.ReportMetric(float64(floor.Microseconds())/float64(b.N*readers*reads), "bare-us/read")
}

// BenchmarkStream passes one event to a thousand clients that follow a session.
func BenchmarkStream(b *testing.B) {
	const followers = 1000
	w := newWorld(b, func(cfg *api.Config) { cfg.Log = slog.New(slog.DiscardHandler) })
	id := w.newSession(b, w.newAgent(b))
	var list []*listener
	for range followers {
		l := w.listen(b, "GET", sessions+"/"+id+"/stream?follow=1", "")
		l.next()
		list = append(list, l)
	}
	delta := `{"type":"message.part.delta","properties":{"sessionID":"harness-1","delta":"a word or two"}}`
	for b.Loop() {
		w.engine.emit(b, id, delta)
		for _, l := range list {
			l.next()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*followers), "us/frame")
}

const (
	readers = 8   // clients at once
	reads   = 100 // of each, in a row
)

// readMany returns how long all readers take together.
func readMany(b *testing.B, client *http.Client, url string) time.Duration {
	b.Helper()
	began := time.Now()
	var g errgroup.Group
	for range readers {
		g.Go(func() error {
			for range reads {
				if err := readOne(b.Context(), client, url); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

func readOne(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
