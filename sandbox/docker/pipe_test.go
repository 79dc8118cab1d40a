package docker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"lap/sandbox"
	"lap/sandbox/docker"
)

func open(d *docker.Docker, how string) func(context.Context, string) (io.ReadWriteCloser, error) {
	if how == "start" {
		return d.Start
	}
	return d.Dial
}

func TestPipeThatIsGivenUp(t *testing.T) {
	for how, pattern := range map[string]string{"start": "/containers/{id}/attach", "dial": "/exec/{id}/start"} {
		t.Run(how, func(t *testing.T) {
			e, d := newEngine(t)
			e.HandleFunc("POST "+api+"/containers/{id}/exec", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"Id":"e"}`) })
			asked, gone := e.hang("POST " + api + pattern)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-asked; cancel() }()
			if _, err := open(d, how)(ctx, "c"); !errors.Is(err, context.Canceled) {
				t.Errorf("error = %v", err)
			}
			<-gone // the connection is closed
			docker.SetCallTimeout(d, 20*time.Millisecond)
			if _, err := open(d, how)(t.Context(), "c"); !errors.Is(err, sandbox.ErrUnavailable) || !strings.Contains(err.Error(), "not answered within 20ms") {
				t.Errorf("an engine that hangs: %v", err)
			}
			<-gone
		})
	}
}

func TestPipeOutlivesItsContext(t *testing.T) {
	e, d := newEngine(t)
	e.HandleFunc("POST "+api+"/containers/{id}/start", func(http.ResponseWriter, *http.Request) {})
	ended := make(chan error, 1)
	e.HandleFunc("POST "+api+"/containers/{id}/attach", func(w http.ResponseWriter, _ *http.Request) {
		ended <- echo(w)
	})
	ctx, cancel := context.WithCancel(t.Context())
	pipe, err := d.Start(ctx, "c")
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(pipe, "hello")
	if got, err := bufio.NewReader(pipe).ReadString('\n'); got != "hello\n" {
		t.Errorf("read %q, error %v", got, err)
	}
	if err := pipe.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// echo upgrades a connection and sends back each line as standard output.
func echo(w http.ResponseWriter) error {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	for {
		line, err := buf.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		fmt.Fprint(conn, frame(1, line))
	}
}

func TestDialTellsWhatBecameOfTheSandbox(t *testing.T) {
	tests := []struct {
		state  string
		status int
		want   error
	}{
		{"exited", http.StatusConflict, sandbox.ErrGone},
		{"created", http.StatusConflict, sandbox.ErrGone},
		{"dead", http.StatusConflict, sandbox.ErrGone},
		{"removing", http.StatusConflict, sandbox.ErrGone},
		{"", http.StatusNotFound, sandbox.ErrGone},
		{"exited", http.StatusInternalServerError, sandbox.ErrGone},
		{"paused", http.StatusConflict, sandbox.ErrPaused},
		{"restarting", http.StatusConflict, nil},
		{"running", http.StatusInternalServerError, nil},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %d", tt.state, tt.status), func(t *testing.T) {
			e, d := newEngine(t)
			e.state = tt.state
			e.HandleFunc("POST "+api+"/containers/{id}/exec", func(w http.ResponseWriter, _ *http.Request) { refuse(w, tt.status, "not now") })
			_, err := d.Dial(t.Context(), "c")
			for _, sentinel := range []error{sandbox.ErrGone, sandbox.ErrPaused} {
				if errors.Is(err, sentinel) != errors.Is(tt.want, sentinel) {
					t.Errorf("error = %v, want %v", err, tt.want)
				}
			}
			if tt.want == nil && (err == nil || !strings.Contains(err.Error(), "not now")) {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestStartRefusesWhatCannotStart(t *testing.T) {
	tests := []struct {
		state string
		want  error
		text  string
	}{
		{"dead", sandbox.ErrGone, "dead"},
		{"removing", sandbox.ErrGone, "removing"},
		{"", sandbox.ErrGone, "no such container"},
		{"paused", sandbox.ErrPaused, ""},
		{"running", nil, "runs already"},
	}
	for _, tt := range tests {
		t.Run(tt.state, func(t *testing.T) {
			e, d := newEngine(t)
			e.state = tt.state
			_, err := d.Start(t.Context(), "c")
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestExecsAreStartedFewAtOnce(t *testing.T) {
	e, d := newEngine(t)
	e.HandleFunc("POST "+api+"/containers/{id}/exec", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"Id":"e"}`) })
	e.HandleFunc("POST "+api+"/exec/{id}/start", func(w http.ResponseWriter, _ *http.Request) { _ = echo(w) })
	var pipes []io.ReadWriteCloser
	for range docker.ExecsAtOnce {
		pipe, err := d.Dial(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		defer pipe.Close()
		pipes = append(pipes, pipe)
	}
	begin := map[string]func(io.ReadWriteCloser){
		"output": func(p io.ReadWriteCloser) {
			fmt.Fprintln(p, "hello")
			_, _ = p.Read(make([]byte, 9))
		},
		"end": func(p io.ReadWriteCloser) { p.Close() },
	}
	for what, f := range begin {
		dialed := make(chan struct{})
		go func() {
			defer close(dialed)
			if _, err := d.Dial(t.Context(), "c"); err != nil {
				t.Error(err)
			}
		}()
		select {
		case <-dialed:
			t.Fatal("one more than may start at once")
		case <-time.After(50 * time.Millisecond):
		}
		f(pipes[0])
		pipes = pipes[1:]
		select {
		case <-dialed:
		case <-time.After(time.Second):
			t.Fatalf("no exec started after the %s of another", what)
		}
	}
	docker.SetCallTimeout(d, 20*time.Millisecond)
	if _, err := d.Dial(t.Context(), "c"); !errors.Is(err, sandbox.ErrUnavailable) {
		t.Errorf("error = %v", err)
	}
}
