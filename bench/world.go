package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	dockerclient "github.com/docker/docker/client"

	"lap/client"
	"lap/e2e/process"
	"lap/sandbox"
	"lap/sandbox/docker"
)

const (
	image = "buildpack-deps:bookworm-scm"
	key   = "bench-master-key-0123456789"
	runs  = 20 // of what takes a good part of a second

	startLimit = 30 * time.Second
)

// A world is a running lap serve and an engine of our own beside it.
type world struct {
	dir     string
	binary  string
	serve   *process.Server
	url     string
	api     *client.Client
	agent   client.Agent
	engine  *dockerclient.Client
	runtime *docker.Docker
	warm    int           // sandboxes that lap serve keeps warm
	freeze  time.Duration // after which it freezes idle ones; 0: never
	env     []string      // further variables of lap serve
}

func newWorld(ctx context.Context) (_ *world, err error) {
	w := &world{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(context.WithoutCancel(ctx)))
		}
	}()
	if w.dir, err = os.MkdirTemp("", "lap-bench-*"); err != nil {
		return nil, err
	}
	if w.binary, err = filepath.Abs("lap"); err != nil {
		return nil, err
	}
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	w.api = client.New(w.url, key)
	if w.agent, err = w.api.CreateAgent(ctx, client.NewAgent{Name: "bench", Model: "scripted/echo", HarnessID: "lap", Prompt: "You are measured."}); err != nil {
		return nil, err
	}
	if w.engine, err = dockerclient.NewClientWithOpts(dockerclient.FromEnv, dockerclient.WithAPIVersionNegotiation()); err != nil {
		return nil, err
	}
	w.runtime = docker.New(docker.Config{Owner: "bench-" + filepath.Base(w.dir), Guest: w.binary, Pull: docker.PullMissing, Log: slog.Default()})
	return w, w.runtime.Ensure(ctx, image, func(string) {})
}

// start starts lap serve and waits for its address.
func (w *world) start(ctx context.Context) (err error) {
	var talk process.Transcript
	env := append([]string{"MASTER_KEY=" + key, "WARM_POOL_SIZE=" + strconv.Itoa(w.warm), "LAP_FREEZE_AFTER=" + w.freeze.String()}, w.env...)
	if w.serve, err = process.Start(ctx, &talk, w.binary, env, "--data-dir", filepath.Join(w.dir, "data"), "--log-level", "error"); err != nil {
		return err
	}
	if w.url, err = w.serve.Ready(startLimit); err != nil {
		return fmt.Errorf("%w\n%s", err, &talk)
	}
	return nil
}

func (w *world) stop() error {
	if w.serve == nil {
		return nil
	}
	err := errors.Join(w.serve.Signal(syscall.SIGTERM), w.serve.Wait())
	w.serve = nil
	return err
}

// restart stops lap serve and starts it again, with some sandboxes kept warm, and idle
// ones frozen after a time.
func (w *world) restart(ctx context.Context, warm int, freeze time.Duration) error {
	w.warm, w.freeze = warm, freeze
	err := errors.Join(w.stop(), w.start(ctx))
	w.api = client.New(w.url, key)
	return err
}

// close removes everything the run has made.
func (w *world) close(ctx context.Context) error {
	var errs []error
	if w.agent.ID != "" {
		errs = append(errs, w.api.DeleteAgent(ctx, w.agent.ID))
	}
	if w.runtime != nil {
		boxes, err := w.runtime.List(ctx)
		errs = append(errs, err)
		for _, box := range boxes {
			errs = append(errs, w.runtime.Remove(ctx, box.ID))
		}
		errs = append(errs, w.runtime.Close())
	}
	if w.engine != nil {
		errs = append(errs, w.engine.Close())
	}
	return errors.Join(append(errs, w.stop(), os.RemoveAll(w.dir))...)
}

// session opens a session, polling as tightly as the API allows.
func (w *world) session(ctx context.Context) (client.Session, error) {
	return w.sessionOf(ctx, w.agent.ID)
}

// timedSession opens a session, tells how long that took, and deletes it.
func (w *world) timedSession(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	s, err := w.session(ctx)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	return took, w.api.DeleteSession(ctx, s.ID)
}

func (w *world) sessionOf(ctx context.Context, agentID string) (client.Session, error) {
	s, err := w.api.CreateSession(ctx, agentID, client.NewSession{})
	if err != nil {
		return client.Session{}, err
	}
	for s.Status == "creating" {
		if s, err = w.api.Session(ctx, s.ID); err != nil {
			return client.Session{}, err
		}
		time.Sleep(2 * time.Millisecond) // the asking takes a core from what is asked for
	}
	if s.Status != "ready" {
		return s, fmt.Errorf("session %s is %s: %s", s.ID, s.Status, *s.FailureReason)
	}
	return s, nil
}

// spec is a sandbox beside the server's.
func spec(n int) sandbox.Spec {
	return sandbox.Spec{
		Session: fmt.Sprintf("bench-%d-%d", os.Getpid(), n), Agent: "bench", Generation: 1, Image: image,
		Limits: sandbox.Limits{CPUs: 2, Memory: 2 << 30, PIDs: 512},
	}
}

// median runs fn n times, after one run that does not count, and returns the median of
// what it says it took.
func median(n int, fn func() (time.Duration, error)) (time.Duration, error) {
	if _, err := fn(); err != nil {
		return 0, err
	}
	all := make([]time.Duration, n)
	for i := range all {
		d, err := fn()
		if err != nil {
			return 0, err
		}
		all[i] = d
	}
	return middle(all), nil
}

// middle is the median of what was measured beside something else.
func middle(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) }

func ratio(a, b time.Duration) string { return fmt.Sprintf("%.2f x", float64(a)/float64(b)) }
