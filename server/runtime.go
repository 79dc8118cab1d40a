package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/sandbox/docker"
	"lap/sandbox/native"
	"lap/server/api"
)

// auto is the setting that leaves the choice of a runtime to lap.
const auto = "auto"

// nativeDir is where native sandboxes are kept, in the data directory.
const nativeDir = "native"

// A sandboxes is a runtime as a server keeps it.
type sandboxes interface {
	sandbox.Runtime
	// Sweep removes what earlier processes and builds of lap have left.
	Sweep(ctx context.Context) error
	// Kill ends the processes of a sandbox, as a crash does. Its files stay.
	Kill(ctx context.Context, id string) error
	// Close lets go of the runtime. Its sandboxes go on.
	Close() error
}

// A choice is a runtime, and why it is this one.
type choice struct {
	sandboxes
	name string
	why  string // for people
}

// pingTimeout is how long a Docker engine is waited for when lap chooses.
const pingTimeout = 3 * time.Second

// openDocker makes the runtime of a Docker engine, for the sandboxes of owner.
func openDocker(s Settings, owner string, log *slog.Logger) *docker.Docker {
	return docker.New(docker.Config{Owner: owner, Pull: s.Pull, OCIRuntime: s.OCIRuntime, Log: log})
}

// openNative makes the runtime of this machine, for the sandboxes of a data directory.
func openNative(s Settings, log *slog.Logger) *native.Native {
	return native.New(native.Config{Dir: filepath.Join(s.DataDir, nativeDir), Tied: s.Ephemeral, Log: log})
}

// chooseRuntime takes the runtime that the settings name. By itself it is Docker if an
// engine answers. So it is when sessions have their sandboxes there, whose files would
// else be lost to them because an engine was started later than lap.
func chooseRuntime(ctx context.Context, s Settings, store *db.Store, owner string, log *slog.Logger) (choice, error) {
	switch {
	case s.Sandbox == sandbox.Docker:
		return choice{openDocker(s, owner, log), sandbox.Docker, asked}, nil
	case s.Sandbox == sandbox.Native:
		return choice{openNative(s, log), sandbox.Native, asked}, nil
	case runtime.GOOS != "linux":
		return choice{openDocker(s, owner, log), sandbox.Docker, "native sandboxes need Linux"}, nil
	}
	engine := openDocker(s, owner, log)
	if answers(ctx, engine) {
		return choice{engine, sandbox.Docker, "its engine answers"}, nil
	}
	all, err := store.Sandboxes(ctx)
	if err != nil {
		return choice{}, errors.Join(err, engine.Close())
	}
	if slices.ContainsFunc(all, inContainer) {
		return choice{engine, sandbox.Docker, "sessions have their sandboxes there; LAP_SANDBOX=native gives them up"}, nil
	}
	return choice{openNative(s, log), sandbox.Native, unanswered}, engine.Close()
}

// Why a runtime was chosen.
const (
	asked      = "LAP_SANDBOX says so"
	unanswered = "no Docker engine answers"
)

func answers(ctx context.Context, engine *docker.Docker) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := engine.Ping(ctx)
	return err == nil
}

func inContainer(b db.Sandbox) bool {
	return b.ContainerID != nil && sandbox.RuntimeOf(*b.ContainerID) == sandbox.Docker
}

// prepare makes what native sandboxes lie on, which takes a second the first time.
func (c choice) prepare(ctx context.Context) error {
	if c.name != sandbox.Native {
		return nil // images are for the sessions that want them
	}
	return c.Ensure(ctx, "", func(string) {})
}

// check looks whether sandboxes can be made. r is the runtime, as its user has it.
func (c choice) check(ctx context.Context, r sandbox.Runtime) api.SandboxHealth {
	h := api.SandboxHealth{Runtime: c.name, Reason: c.why}
	h.Version, h.Err = r.Ping(ctx)
	if h.Err != nil && c.why == unanswered {
		h.Err = fmt.Errorf("%w; or start Docker, which does not answer either", h.Err)
	}
	return h
}
