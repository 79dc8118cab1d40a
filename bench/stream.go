package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lap/db"
)

func decode(r io.Reader, v any) error { return json.NewDecoder(r).Decode(v) }

// appends measures how many events a second the store takes, each of them on the disk
// before the call returns, against bare writes and syncs of one file.
func appends(ctx context.Context, w *world) (_ []result, err error) {
	dir, err := os.MkdirTemp(w.dir, "appends-*")
	if err != nil {
		return nil, err
	}
	schema, err := os.ReadFile("schema.sql")
	if err != nil {
		return nil, err
	}
	sealer, err := db.NewSealer(make([]byte, db.KeySize))
	if err != nil {
		return nil, err
	}
	store, err := db.Open(ctx, db.Config{Path: filepath.Join(dir, "lap.db"), Schema: string(schema), Sealer: sealer})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	sync, err := syncs(filepath.Join(dir, "file"))
	if err != nil {
		return nil, err
	}
	var rows []result
	for _, writers := range []int{1, 100} {
		n, err := appendRate(ctx, store, writers)
		if err != nil {
			return nil, err
		}
		rows = append(rows, result{
			fmt.Sprintf("events stored by %d sessions", writers), fmt.Sprintf("%.0f /s", n), fmt.Sprintf("%.0f /s write + fsync", sync), fmt.Sprintf("%.2f x", n/sync),
		})
	}
	return rows, nil
}

// syncs is how often a second one writer gets a small write to the disk.
func syncs(path string) (float64, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, began := 0, time.Now()
	for ; time.Since(began) < time.Second; n++ {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// appendRate is how many events a second some sessions store, one after the other each.
func appendRate(ctx context.Context, store *db.Store, writers int) (float64, error) {
	agent, err := store.CreateAgent(ctx, db.Agent{Model: "m", HarnessID: "lap", Branch: "main"})
	if err != nil {
		return 0, err
	}
	body := json.RawMessage(`{"type":"message.part.updated","properties":{"sessionID":"s","part":{"id":"p","text":"` + strings.Repeat("x", 100) + `"}}}`)
	var done atomic.Int64
	var work sync.WaitGroup
	errs := make([]error, writers)
	began := time.Now()
	for i := range writers {
		made, err := store.CreateSession(ctx, db.NewSession{AgentID: agent.ID, Deadline: time.Now().Add(time.Hour)})
		if err == nil {
			err = store.MarkReady(ctx, made.Session.ID, 1, db.Readiness{HarnessSessionID: "s", GuestID: "g"})
		}
		if err != nil {
			return 0, err
		}
		if i == 0 {
			began = time.Now()
		}
		work.Go(func() {
			for n := int64(1); time.Since(began) < 2*time.Second; n++ {
				_, err := store.Append(ctx, db.Batch{
					SessionID: made.Session.ID, Generation: 1, After: n - 1, Journal: n, Events: []db.NewEvent{{Type: "message.part.updated", Body: body}},
				})
				if err != nil {
					errs[i] = err
					return
				}
				done.Add(1)
			}
		})
	}
	work.Wait()
	return float64(done.Load()) / time.Since(began).Seconds(), errors.Join(errs...)
}

const readers = 1000

// fanOut measures how far apart the first and the p99 of a thousand readers of one
// session get an event, against a bare handler that writes the same to as many.
func fanOut(ctx context.Context, w *world) (_ []result, err error) {
	s, err := w.session(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.api.DeleteSession(context.WithoutCancel(ctx), s.ID)) }()
	lap, err := spread(ctx, w.url+"/api/v1/managed_agents/sessions/"+s.ID+"/stream?follow=1", func() error {
		_, err := w.api.Send(ctx, s.ID, "hello")
		return err
	})
	if err != nil {
		return nil, err
	}
	bare, err := bareSpread(ctx)
	return []result{{fmt.Sprintf("an event to %d readers, first to p99", readers), ms(lap), ms(bare) + " bare handler", ratio(lap, bare)}}, err
}

// spread connects the readers to url, makes events with send, and returns the p99 of how
// much later than the first reader the others got each.
func spread(ctx context.Context, url string, send func() error) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: readers}}
	defer hc.CloseIdleConnections()
	var connected, reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	got := make([]map[string]time.Time, readers)
	var mu sync.Mutex
	for i := range readers {
		got[i] = map[string]time.Time{}
		connected.Add(1)
		reading.Go(func() {
			var once sync.Once
			defer once.Do(connected.Done)
			res, err := fetch(ctx, hc, url)
			if err != nil {
				return
			}
			defer res.Body.Close()
			for lines := bufio.NewScanner(res.Body); lines.Scan(); {
				id, ok := strings.CutPrefix(lines.Text(), "id: ")
				if !ok {
					continue
				}
				once.Do(connected.Done)
				mu.Lock()
				got[i][id] = time.Now()
				mu.Unlock()
			}
		})
	}
	connected.Wait()
	mu.Lock()
	for _, m := range got {
		clear(m)
	}
	mu.Unlock()
	for range 10 {
		if err := send(); err != nil {
			return 0, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(time.Second)
	mu.Lock()
	defer mu.Unlock()
	return p99(got)
}

// p99 of how much later than the first the readers got each event.
func p99(got []map[string]time.Time) (time.Duration, error) {
	first := map[string]time.Time{}
	for _, m := range got {
		for id, at := range m {
			if f, ok := first[id]; !ok || at.Before(f) {
				first[id] = at
			}
		}
	}
	var late []time.Duration
	for _, m := range got {
		if len(m) != len(first) || len(m) == 0 {
			return 0, fmt.Errorf("a reader got %d of %d events", len(m), len(first))
		}
		for id, at := range m {
			late = append(late, at.Sub(first[id]))
		}
	}
	slices.Sort(late)
	return late[len(late)*99/100], nil
}

// bareSpread is spread for a handler that does nothing but pass frames on.
func bareSpread(ctx context.Context) (time.Duration, error) {
	var mu sync.Mutex // guards next
	next := make(chan struct{})
	var n atomic.Int64
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		out := http.NewResponseController(rw)
		for id := n.Load(); ; {
			mu.Lock()
			wait := next
			mu.Unlock()
			fmt.Fprintf(rw, "id: %d\ndata: %s\n\n", id, strings.Repeat("x", 300))
			if out.Flush() != nil {
				return
			}
			for id == n.Load() {
				select {
				case <-wait:
				case <-r.Context().Done():
					return
				}
			}
			id = n.Load()
		}
	})
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer srv.Close()
	serving.Go(func() { _ = srv.Serve(l) }) // ends with Close
	return spread(ctx, "http://"+l.Addr().String(), func() error {
		mu.Lock()
		defer mu.Unlock()
		n.Add(1)
		close(next)
		next = make(chan struct{})
		return nil
	})
}
