package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"golang.org/x/sync/errgroup"

	"lap/client"
)

// churnFor says how long TestChurn goes on, as in "10m"; the default is a few seconds.
const churnFor = "LAP_CHURN"

// TestChurn has sessions come and go, with readers that hang, cut their connections or
// never read, and then looks whether anything was left behind.
func TestChurn(t *testing.T) { onEach(t, testChurn) }

func testChurn(t *testing.T, on runtime) {
	span := 6 * time.Second
	if text := os.Getenv(churnFor); text != "" {
		var err error
		if span, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", churnFor, err)
		}
	}
	s := on.serve(t, options{env: []string{"RECONCILE_INTERVAL_SECONDS=1", "LAP_FREEZE_AFTER=700ms", "WARM_POOL_SIZE=1"}})
	agent := s.agent(t, client.NewAgent{})
	s.churn(t, agent.ID, time.Now().Add(span/3)) // until caches and pools are full
	before := s.holdings(t, agent.ID)
	s.churn(t, agent.ID, time.Now().Add(span))
	after := s.holdings(t, agent.ID)
	for deadline := time.Now().Add(20 * time.Second); !after.within(before) && time.Now().Before(deadline); after = s.holdings(t, agent.ID) {
		time.Sleep(200 * time.Millisecond)
	}
	t.Logf("before %+v, after %+v", before, after)
	if !after.within(before) {
		t.Errorf("something was left behind: before %+v, after %+v", before, after)
	}
}

// holdings are what a server has, with no session open.
type holdings struct {
	goroutines, files, rss, sandboxes, volumes, processes int // rss in kB, processes of native sandboxes
}

// within reports whether h is not more than before, but for what comes and goes by itself.
func (h holdings) within(before holdings) bool {
	return h.goroutines <= before.goroutines+8 && h.files <= before.files+6 && h.rss <= before.rss+16<<10 &&
		h.sandboxes <= max(before.sandboxes, 1) && h.volumes <= before.volumes && h.processes <= max(before.processes, 1)
}

func (s *serving) holdings(t *testing.T, agentID string) holdings {
	t.Helper()
	proc := "/proc/" + strconv.Itoa(s.process.Pid())
	files, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Skipf("needs /proc: %v", err)
	}
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		t.Fatal(err)
	}
	h := holdings{
		goroutines: number(s.metrics(t), "go_goroutines "), files: len(files), rss: number(string(status), "VmRSS:"),
		sandboxes: len(s.sandboxes(t, agentID)), processes: len(processesWith(t, filepath.Join(s.dir, "native"))),
	}
	if s.on.engine == nil {
		return h
	}
	volumes, err := s.on.engine.VolumeList(t.Context(), volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "dev.lap.guest"))})
	if err != nil {
		t.Fatal(err)
	}
	h.volumes = len(volumes.Volumes)
	return h
}

// number is the number after a text at the beginning of a line.
func number(text, after string) int {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, after); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			return n
		}
	}
	return -1
}

func (s *serving) metrics(t *testing.T) string {
	t.Helper()
	return do(t, s.request(t, http.MethodGet, "/api/v1/metrics", "")).body
}

// churn lets four users live through sessions until the deadline.
func (s *serving) churn(t *testing.T, agentID string, deadline time.Time) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		g.Go(func() error {
			for time.Now().Before(deadline) {
				if err := s.live(ctx, agentID); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, s.talk)
	}
}

// live is one session from its beginning to its end.
func (s *serving) live(ctx context.Context, agentID string) error {
	sess, err := s.CreateSession(ctx, agentID, client.NewSession{})
	if err != nil {
		return err
	}
	if rand.IntN(5) == 0 { // is deleted before it is up
		return s.DeleteSession(ctx, sess.ID)
	}
	if _, err := s.AwaitReady(ctx, sess.ID, func(client.Session) {}); err != nil {
		return err
	}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	for range 3 {
		conn, err := s.halfOpen(reading, sess.ID)
		if err != nil {
			return err
		}
		defer conn.Close()
		go func() {
			_ = s.stream(reading, sess.ID, "follow=1&after=0", func(frame) bool { return rand.IntN(20) > 0 }) // cut off
		}()
	}
	for i := range 2 {
		if _, err := s.Send(ctx, sess.ID, fmt.Sprintf("RUN: seq %d", 100*i)); err != nil {
			return err
		}
	}
	if rand.IntN(3) == 0 { // is frozen, and deleted so
		time.Sleep(time.Second)
	}
	return s.DeleteSession(ctx, sess.ID)
}

// halfOpen asks for a session's stream and never reads it.
func (s *serving) halfOpen(ctx context.Context, sessionID string) (net.Conn, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(conn, "GET "+managed+"/sessions/"+sessionID+"/stream?follow=1&after=0 HTTP/1.1\r\nHost: "+u.Host+
		"\r\nAuthorization: Bearer "+masterKey+"\r\n\r\n")
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
