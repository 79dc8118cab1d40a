package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lap/client"
)

// A fixture is an ephemeral lap serve.
type fixture struct {
	cmd   *exec.Cmd
	input io.WriteCloser // its end ends the server
	URL   string         `json:"url"`
	Key   string         `json:"key"`
	api   *client.Client
}

func startFixture(ctx context.Context, binary string) (_ *fixture, err error) {
	f := &fixture{cmd: exec.CommandContext(ctx, binary, "serve", "--ephemeral", "--fixture")}
	f.cmd.Env = append(os.Environ(), "LAP_SANDBOX=native")
	if f.input, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, f)
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	f.api = client.New(f.URL, f.Key)
	return f, nil
}

func (f *fixture) close() error { return errors.Join(f.input.Close(), f.cmd.Wait()) }

func (f *fixture) post(ctx context.Context, path, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.URL+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+f.Key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", path, res.Status, text)
	}
	return errors.Join(err, res.Body.Close())
}

// ephemeral measures servers for tests: how long one takes to be ready, and fifty at once.
func ephemeral(ctx context.Context, w *world) ([]result, error) {
	var floors []time.Duration
	ready, err := median(runs, func() (time.Duration, error) {
		began := time.Now()
		if err := exec.CommandContext(ctx, w.binary, "--version").Run(); err != nil {
			return 0, err
		}
		floors = append(floors, time.Since(began))
		began = time.Now()
		f, err := startFixture(ctx, w.binary)
		if err != nil {
			return 0, err
		}
		took := time.Since(began)
		return took, f.close()
	})
	if err != nil {
		return nil, err
	}
	all, err := fifty(ctx, w)
	if err != nil {
		return nil, err
	}
	floor := middle(floors)
	return []result{
		{"fixture, exec to ready line", ms(ready), ms(floor) + " lap --version", ratio(ready, floor)},
		{fmt.Sprintf("%d fixtures at once, an agent in each", together), ms(all), ms(ready) + " one", fmt.Sprintf("%s each", ms(all/together))},
	}, nil
}

// together is how many fixtures are started at once.
const together = 50

// fifty starts fixtures and makes an agent in each.
func fifty(ctx context.Context, w *world) (time.Duration, error) {
	var mu sync.Mutex // guards all
	var all []*fixture
	began := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	for range together {
		g.Go(func() error {
			f, err := startFixture(ctx, w.binary)
			if err != nil {
				return err
			}
			mu.Lock()
			all = append(all, f)
			mu.Unlock()
			_, err = f.api.CreateAgent(gctx, client.NewAgent{Name: "one", Model: "scripted/echo", HarnessID: "lap"})
			return err
		})
	}
	err := g.Wait()
	took := time.Since(began)
	for _, f := range all {
		err = errors.Join(err, f.close())
	}
	return took, err
}

// round measures what a test does over and over, in a native sandbox: create an agent and a
// session, send a message, delete both; or all at once by a reset.
func round(ctx context.Context, w *world) (_ []result, err error) {
	f, err := startFixture(ctx, w.binary)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	var resets []time.Duration
	n := &world{binary: w.binary, url: f.URL, api: f.api}
	trip, err := median(runs*2, func() (time.Duration, error) {
		began := time.Now()
		if err := n.trip(ctx); err != nil {
			return 0, err
		}
		took := time.Since(began)
		if _, err := n.session(ctx); err != nil { // for the reset to remove
			return 0, err
		}
		began = time.Now()
		err := f.post(ctx, "/api/v1/fixture/reset", "{}")
		resets = append(resets, time.Since(began))
		return took, err
	})
	if err != nil {
		return nil, err
	}
	bare, err := median(runs, func() (time.Duration, error) {
		began := time.Now()
		res, err := fetch(ctx, http.DefaultClient, f.URL+"/healthz")
		if err != nil {
			return 0, err
		}
		return time.Since(began), res.Body.Close()
	})
	reset := middle(resets)
	return []result{
		{"agent, session, message, delete", fmt.Sprintf("%.1f /s", 1/trip.Seconds()), ms(bare) + " a request", ms(trip) + " each"},
		{"reset with an agent and a session", ms(reset), ms(bare) + " a request", ratio(reset, bare)},
	}, err
}

// trip goes round once, and leaves an agent for a reset to remove.
func (w *world) trip(ctx context.Context) error {
	a, err := w.api.CreateAgent(ctx, client.NewAgent{Name: "round", Model: "scripted/echo", HarnessID: "lap"})
	if err != nil {
		return err
	}
	w.agent = a
	s, err := w.session(ctx)
	if err != nil {
		return err
	}
	if _, err := w.api.Send(ctx, s.ID, "hello"); err != nil {
		return err
	}
	return w.api.DeleteSession(ctx, s.ID)
}
