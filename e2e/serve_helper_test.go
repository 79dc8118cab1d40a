package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lap/client"
)

// masterKey is long enough for any address.
const masterKey = "e2e-master-key-0123456789"

// A serving is a running "lap serve" process.
type serving struct {
	*client.Client
	cmd  *exec.Cmd
	url  string
	dir  string // data directory
	talk *transcript
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
	s := &serving{dir: o.dir, talk: &transcript{}}
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--data-dir", o.dir}, o.args...)
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...)
	s.cmd.Env = append(environment(), append([]string{"MASTER_KEY=" + masterKey}, o.env...)...)
	out, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.talk.follow(out, address)
	}()
	t.Cleanup(func() { s.stop(t, syscall.SIGTERM) })
	select {
	case s.url = <-address:
		s.Client = client.New(s.url, masterKey)
		return s, nil
	case <-read:
		return s, errors.Join(errors.New("ended before it was ready"), s.cmd.Wait())
	case <-time.After(20 * time.Second):
		return s, errors.New("not ready within 20 s")
	}
}

// stop ends the server with a signal and waits for it. A server that has ended is left.
func (s *serving) stop(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Error(err)
	}
	if err := s.cmd.Wait(); err != nil && sig == syscall.SIGTERM {
		t.Errorf("lap serve ended with %v\n%s", err, s.talk)
	}
}

// environment is this process's without settings of lap.
func environment() []string {
	var env []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "LAP_") && !strings.HasPrefix(name, "LITELLM_") && name != "MASTER_KEY" && name != "ENCRYPTION_KEY" {
			env = append(env, entry)
		}
	}
	return env
}

// A transcript is what a server has said on standard error.
type transcript struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// follow collects lines until out ends, and passes on the address when it is told.
func (tr *transcript) follow(out io.Reader, address chan<- string) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		tr.mu.Lock()
		tr.text.WriteString(lines.Text() + "\n")
		tr.mu.Unlock()
		if url, ok := strings.CutPrefix(lines.Text(), "lap serves "); ok {
			address <- url
		}
	}
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}
