// Package process runs "lap serve" as a process of its own, for the end-to-end tests,
// make chaos and make bench.
package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A Server is a lap serve process that was started.
type Server struct {
	cmd     *exec.Cmd
	address chan string
	ended   chan struct{} // closed when the process was waited for
	err     error         // how it ended; read it after ended
}

// Start runs binary's serve on a free port of loopback. The process has env and this
// process's environment without settings of lap, outlives ctx, and must be waited for.
// What it says on standard error goes to talk.
func Start(ctx context.Context, talk *Transcript, binary string, env []string, args ...string) (*Server, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(Environment(), env...)
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{cmd: cmd, address: make(chan string, 1), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.follow(out, talk)
		s.err = cmd.Wait()
	}()
	return s, nil
}

// follow collects lines until out ends, and passes on the address when it is told.
func (s *Server) follow(out io.Reader, talk *Transcript) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		talk.add(lines.Text())
		if url, ok := strings.CutPrefix(lines.Text(), "lap serves "); ok {
			s.address <- url
		}
	}
}

// Ready waits until the server serves, and returns its URL. It fails when the process
// ends before, or takes longer than limit. Call it once.
func (s *Server) Ready(limit time.Duration) (string, error) {
	select {
	case url := <-s.address:
		return url, nil
	case <-s.ended:
		return "", errors.Join(errors.New("lap serve ended before it was ready"), s.err)
	case <-time.After(limit):
		return "", fmt.Errorf("lap serve is not ready after %s", limit)
	}
}

// Pid is the number of the process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Signal sends sig. The error is os.ErrProcessDone when the process has ended.
func (s *Server) Signal(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }

// Ended is closed when the process has ended.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Wait waits for the end of the process and says how it ended, as often as it is asked.
func (s *Server) Wait() error {
	<-s.ended
	return s.err
}

// Environment is this process's without settings of lap.
func Environment() []string {
	var env []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "LAP_") && !strings.HasPrefix(name, "LITELLM_") && !strings.HasPrefix(name, "WARM_POOL") &&
			name != "MASTER_KEY" && name != "ENCRYPTION_KEY" {
			env = append(env, entry)
		}
	}
	return env
}
