package e2e

import (
	"syscall"
	"testing"
	"time"

	"lap/client"
	"lap/e2e/process"
)

// masterKey is long enough for any address.
const masterKey = "e2e-master-key-0123456789"

// A serving is a running "lap serve" process.
type serving struct {
	*client.Client
	process *process.Server
	url     string
	dir     string // data directory
	talk    *process.Transcript
	on      runtime // of its sandboxes, when a test chose one
}

// options change how a server is started.
type options struct {
	dir  string   // "": a new one
	env  []string // "NAME=value"
	args []string
}

// serve starts a server on a free port, and stops it with the test.
func serve(t *testing.T, o options) *serving {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	s, err := tryServe(t, o)
	if err != nil {
		t.Fatalf("lap serve: %v\n%s", err, s.talk)
	}
	return s
}

// tryServe is serve for a server that may refuse to start.
func tryServe(t *testing.T, o options) (*serving, error) {
	t.Helper()
	s := &serving{dir: o.dir, talk: &process.Transcript{}}
	var err error
	s.process, err = process.Start(t.Context(), s.talk, binary, append([]string{"MASTER_KEY=" + masterKey}, o.env...), append([]string{"--data-dir", o.dir}, o.args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(t, syscall.SIGTERM) })
	if s.url, err = s.process.Ready(20 * time.Second); err != nil {
		return s, err
	}
	s.Client = client.New(s.url, masterKey)
	return s, nil
}

// running reports whether the server has not ended.
func (s *serving) running() bool {
	select {
	case <-s.process.Ended():
		return false
	default:
		return true
	}
}

// stop ends the server with a signal and waits for it. A server that has ended is left.
func (s *serving) stop(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if !s.running() {
		return
	}
	if err := s.process.Signal(sig); err != nil {
		t.Error(err)
	}
	if err := s.process.Wait(); err != nil && sig == syscall.SIGTERM {
		t.Errorf("lap serve ended with %v\n%s", err, s.talk)
	}
}
