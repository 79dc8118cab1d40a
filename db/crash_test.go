package db_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/db"
)

// crashEnv holds the path of the database that a child of this test binary appends to.
const crashEnv = "LAP_TEST_CRASH"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		if err := appendForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// appendForEver appends to the logs of all sessions, packs them, and prints what was
// acknowledged: the session's number and the seq.
func appendForEver(path string) error {
	schema, err := os.ReadFile("../schema.sql")
	if err != nil {
		return err
	}
	sealer, err := db.NewSealer(make([]byte, db.KeySize))
	if err != nil {
		return err
	}
	ctx := context.Background()
	s, err := db.Open(ctx, db.Config{Path: path, Schema: string(schema), Sealer: sealer})
	if err != nil {
		return err
	}
	sessions, err := s.LiveSessions(ctx, "")
	if err != nil {
		return err
	}
	failed := make(chan error)
	var out sync.Mutex
	for n, session := range sessions {
		go func() {
			for round := 1; ; round++ {
				last, err := s.Append(ctx, db.Batch{SessionID: session.ID, Generation: 1, Events: deltas("a", "b", "c")[:round%3+1]})
				if err == nil && round%20 == 0 {
					err = s.PackEvents(ctx, session.ID, last-40, last)
				}
				if err != nil {
					failed <- err
					return
				}
				out.Lock()
				fmt.Printf("%d %d\n", n, last) // one write, which a kill cannot cut in two
				out.Unlock()
			}
		}()
	}
	return <-failed
}

func TestAcknowledgedEventsSurviveKill(t *testing.T) {
	cfg := config(t)
	cfg.Path = filepath.Join(t.TempDir(), "crash.db")
	s, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	agent := newAgent(t, s, db.Agent{})
	for range 4 {
		newReadySession(t, s, agent.ID)
	}
	sessions, err := s.LiveSessions(t.Context(), "") // the child counts them in this order
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	acknowledged := make([]int64, len(sessions))
	for round := range 10 {
		killAppender(t, cfg.Path, acknowledged)
		s, err := db.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if lines, err := s.Lines(t.Context(), `PRAGMA integrity_check`); err != nil || strings.Join(lines, "") != "ok" {
			t.Errorf("round %d: %s, %v", round, lines, err)
		}
		for n, session := range sessions {
			log := allEvents(t, s, session.ID)
			if int64(len(log)) < acknowledged[n] {
				t.Errorf("round %d: %d events, %d were acknowledged", round, len(log), acknowledged[n])
			}
			checkSeqs(t, log, int(readSession(t, s, session.ID).LastEvent))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Log("acknowledged", acknowledged)
}

// killAppender runs appendForEver as a process, kills it at some moment, and notes what
// it has acknowledged.
func killAppender(t *testing.T, path string, acknowledged []int64) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env, child.Stderr = append(os.Environ(), crashEnv+"="+path), os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines, kill := bufio.NewScanner(out), time.Duration(rand.IntN(150))*time.Millisecond
	for first := true; lines.Scan(); first = false {
		if first {
			time.AfterFunc(kill, func() { _ = child.Process.Kill() })
		}
		number, seq, _ := strings.Cut(lines.Text(), " ")
		n, err1 := strconv.Atoi(number)
		last, err2 := strconv.ParseInt(seq, 10, 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("line %q", lines.Text())
		}
		acknowledged[n] = last
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
		t.Errorf("the child ended by itself: %v", err)
	}
}
