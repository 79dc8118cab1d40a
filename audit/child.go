package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	startTime = 20 * time.Second      // for a server to start
	stopTime  = 8 * time.Second       // for a server to stop, before it is killed
	lookEvery = 10 * time.Millisecond // between two looks at what it says
	greeting  = "\nlap serves "       // begins the line with its address
)

// A child is a "lap serve" that writes what it says into a file.
type child struct {
	cmd   *exec.Cmd
	log   string
	url   string
	ended chan struct{} // closed when it was waited for
}

// inherited are the variables of this process that a server may need: how to find
// programs, and what runs sandboxes.
var inherited = []string{
	"PATH", "HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG",
	"DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION", "XDG_CACHE_HOME", "LAP_SANDBOX", "LAP_PULL", "LAP_IMAGE_LAP", "GOCOVERDIR",
}

// startChild runs lap serve with its data in dir, and waits until it serves. It has a
// process group of its own, so that an interrupt reaches the audit alone.
func startChild(ctx context.Context, binary, dir, log string, env []string) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	begin, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, "serve", "--listen", "127.0.0.1:0", "--log-level", "debug", "--data-dir", dir)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	if _, err := out.WriteString("\n"); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		_ = cmd.Wait() // that it ended is what counts
	}()
	if c.url, err = c.ready(ctx, begin); err != nil {
		return nil, errors.Join(err, c.stop(ctx))
	}
	return c, nil
}

// ready waits for the address, which is behind the first begin bytes of the log.
func (c *child) ready(ctx context.Context, begin int64) (string, error) {
	limit := time.After(startTime)
	for {
		text, err := os.ReadFile(c.log)
		if err != nil {
			return "", err
		}
		if _, rest, ok := bytes.Cut(text[begin:], []byte(greeting)); ok {
			if url, _, ok := strings.Cut(string(rest), "\n"); ok {
				return url, nil
			}
		}
		select {
		case <-c.ended:
			return "", fmt.Errorf("lap serve did not start: %s", bytes.TrimSpace(text[begin:]))
		case <-limit:
			return "", fmt.Errorf("lap serve did not start within %s", startTime)
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// signal sends sig and waits for the end of the server, which it kills if need be.
func (c *child) signal(ctx context.Context, sig syscall.Signal) error {
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.ended:
		return nil
	case <-time.After(stopTime):
	case <-ctx.Done():
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.ended
	return nil
}

// stop ends the server, if it has not.
func (c *child) stop(ctx context.Context) error {
	if c == nil {
		return nil
	}
	return c.signal(context.WithoutCancel(ctx), syscall.SIGTERM)
}

// writeKeys writes secrets into files that only this user can read, and returns the
// variables that name them.
func writeKeys(dir string, keys map[string]string) (env []string, err error) {
	for name, value := range keys {
		path := filepath.Join(dir, strings.ToLower(name))
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			return nil, err
		}
		env = append(env, name+"_FILE="+path)
	}
	return env, nil
}
