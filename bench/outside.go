package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"lap/client"
)

// An outside is a session whose sandbox reaches an origin by the vault, and the probe that
// runs in it and beside it.
type outside struct {
	w       *world
	origin  *origin
	agent   client.Agent
	session client.Session
	probe   string // on the host
}

// Where the probe and the certificate of the origin are in the sandbox.
const (
	probeIn = "/tmp/probe"
	rootsIn = "/tmp/origin.crt"
)

// newOutside makes an outside whose session has so many credentials for openedHost. Until
// it is closed lap serve knows the origin.
func newOutside(ctx context.Context, w *world, credentials int) (_ *outside, err error) {
	o := &outside{w: w, probe: filepath.Join(w.dir, "probe")}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close(context.WithoutCancel(ctx)))
		}
	}()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", o.probe, "./bench/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the probe: %w: %s", err, out)
	}
	if o.origin, err = newOrigin(ctx, w.dir); err != nil {
		return nil, err
	}
	w.env = []string{"LAP_RESOLVE=" + openedHost + "=127.0.0.1," + passedHost + "=127.0.0.1", "LAP_EXTRA_CA=" + o.origin.roots}
	if err := w.restart(ctx, 0, 0); err != nil {
		return nil, err
	}
	env := map[string]string{}
	for i := range credentials {
		env[fmt.Sprintf("LINEAR_KEY_%d", i)] = fmt.Sprintf("lin_api_%032d", i)
	}
	if o.agent, err = w.api.CreateAgent(ctx, client.NewAgent{Name: "outside", Model: "scripted/echo", HarnessID: "lap", EnvVars: env}); err != nil {
		return nil, err
	}
	if o.session, err = w.sessionOf(ctx, o.agent.ID); err != nil {
		return nil, err
	}
	return o, o.furnish(ctx)
}

// furnish puts the probe into the sandbox.
func (o *outside) furnish(ctx context.Context) error {
	for from, to := range map[string]string{o.probe: probeIn, o.origin.roots: rootsIn} {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := o.w.api.WriteFile(ctx, o.session.ID, to, bytes.NewReader(data)); err != nil {
			return err
		}
	}
	_, err := o.w.api.Send(ctx, o.session.ID, "RUN: chmod +x "+probeIn)
	return err
}

func (o *outside) close(ctx context.Context) error {
	var errs []error
	if o.agent.ID != "" {
		errs = append(errs, o.w.api.DeleteAgent(ctx, o.agent.ID))
	}
	if o.origin != nil {
		errs = append(errs, o.origin.close())
		o.w.env = nil
		errs = append(errs, o.w.restart(ctx, 0, 0))
	}
	return errors.Join(errs...)
}

// A measure is what the probe prints.
type measure struct {
	P50, P99 time.Duration
	Rate     float64
}

// inside runs the probe in the sandbox, as its agent does.
func (o *outside) inside(ctx context.Context, args ...string) (m measure, err error) {
	said, err := o.w.api.Send(ctx, o.session.ID, "RUN: "+probeIn+" -roots "+rootsIn+" "+strings.Join(args, " "))
	if err != nil {
		return m, err
	}
	var text strings.Builder
	for _, p := range said.Parts {
		text.WriteString(p.Text)
	}
	_, line, ok := strings.Cut(text.String(), "\n{")
	if !ok {
		return m, fmt.Errorf("the probe in the sandbox says: %s", &text)
	}
	return m, decode(strings.NewReader("{"+line), &m)
}

// beside runs the probe on the host, with nothing between it and the origin.
func (o *outside) beside(ctx context.Context, args ...string) (m measure, err error) {
	cmd := exec.CommandContext(ctx, o.probe, append([]string{"-direct", "-roots", o.origin.roots}, args...)...)
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return m, fmt.Errorf("the probe: %w: %s", err, failed.Stderr)
	}
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(out, &m)
}

// A kind is a way that a connection takes through the vault.
type kind struct {
	name, scheme, host string
}

var kinds = []kind{
	{"TLS passed on", "https", passedHost},
	{"TLS opened", "https", openedHost},
	{"plain HTTP", "http", openedHost},
}

func (o *outside) url(k kind) string {
	port := o.origin.secure
	if k.scheme == "http" {
		port = o.origin.plain
	}
	return k.scheme + "://" + k.host + ":" + port + "/"
}
