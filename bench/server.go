package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/julienschmidt/httprouter"

	"lap/client"
	"lap/sandbox/pipe"
	"lap/server/gateway"
)

// start measures how long lap serve takes from exec to its first answer, on a database
// that exists. The world's own server is stopped for it and started again.
func start(ctx context.Context, w *world) ([]result, error) {
	took, err := median(runs, func() (time.Duration, error) {
		if err := w.stop(); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := w.start(ctx); err != nil {
			return 0, err
		}
		res, err := fetch(ctx, http.DefaultClient, w.url+"/healthz")
		if err != nil {
			return 0, err
		}
		return time.Since(began), res.Body.Close()
	})
	if err != nil {
		return nil, err
	}
	w.api = client.New(w.url, key)
	version, err := median(runs, func() (time.Duration, error) {
		began := time.Now()
		err := exec.CommandContext(ctx, w.binary, "--version").Run()
		return time.Since(began), err
	})
	return []result{{"serve, exec to first answer", ms(took), ms(version) + " lap --version", ratio(took, version)}}, err
}

// read compares reading one agent with a bare router that writes the same bytes.
func read(ctx context.Context, w *world) ([]result, error) {
	url := w.url + "/api/v1/managed_agents/agents/" + w.agent.ID
	body, err := get(ctx, http.DefaultClient, url)
	if err != nil {
		return nil, err
	}
	router := httprouter.New()
	router.GET("/api/v1/managed_agents/agents/:agent_id", func(rw http.ResponseWriter, _ *http.Request, _ httprouter.Params) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write(body) // a reader that left does not matter
	})
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: router, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer srv.Close()
	serving.Go(func() { _ = srv.Serve(l) }) // ends with Close
	bare, err := throughput(ctx, "http://"+l.Addr().String()+"/api/v1/managed_agents/agents/"+w.agent.ID)
	if err != nil {
		return nil, err
	}
	lap, err := throughput(ctx, url)
	return []result{{"reading one agent", fmt.Sprintf("%.0f /s", lap), fmt.Sprintf("%.0f /s bare handler", bare), fmt.Sprintf("%.2f x", lap/bare)}}, err
}

// throughput is how many reads a second 16 clients get through.
func throughput(ctx context.Context, url string) (float64, error) {
	const clients, span = 16, 3 * time.Second
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer hc.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var work sync.WaitGroup
	for range clients {
		work.Go(func() {
			for ctx.Err() == nil {
				if _, err := get(ctx, hc, url); err == nil {
					done.Add(1)
				} else if ctx.Err() == nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	work.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(done.Load()) / span.Seconds(), nil
}

func fetch(ctx context.Context, hc *http.Client, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	return hc.Do(req)
}

func get(ctx context.Context, hc *http.Client, url string) ([]byte, error) {
	res, err := fetch(ctx, hc, url)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return io.ReadAll(res.Body)
}

// message compares a message through the API with the same message to the harness,
// over a pipe of our own. They alternate on one sandbox.
func message(ctx context.Context, w *world) (_ []result, err error) {
	s, err := w.session(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.api.DeleteSession(context.WithoutCancel(ctx), s.ID)) }()
	direct, err := w.direct(ctx, *s.TaskARN)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, direct.close()) }()
	const n = 200
	var floors []time.Duration
	through, err := median(n, func() (time.Duration, error) {
		floor, err := direct.send(ctx)
		if err != nil {
			return 0, err
		}
		floors = append(floors, floor)
		began := time.Now()
		_, err = w.api.Send(ctx, s.ID, "hello")
		return time.Since(began), err
	})
	if err != nil {
		return nil, err
	}
	floor := middle(floors)
	return []result{{"message on scripted/echo", ms(through), ms(floor) + " to the harness", "+" + ms(through-floor)}}, nil
}

// A directHarness is one reached over a pipe of our own, on a session of our own, with
// its model calls answered by a gateway of our own.
type directHarness struct {
	host  *pipe.Host
	http  *http.Client
	path  string
	model *http.Server
}

func (w *world) direct(ctx context.Context, containerID string) (*directHarness, error) {
	conn, err := w.runtime.Dial(ctx, containerID)
	if err != nil {
		return nil, err
	}
	host, err := pipe.NewHost(conn)
	if err != nil {
		return nil, err
	}
	models, err := gateway.New(gateway.Config{Log: slog.Default()})
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	d := &directHarness{
		host: host, http: sandboxHTTP(host), path: "/harness/session",
		model: &http.Server{Handler: models, ReadHeaderTimeout: time.Minute},
	}
	l := pipe.NewListener()
	go func() { _ = d.model.Serve(l) }() // ends with close
	go host.Serve("bench", map[pipe.Service]*pipe.Listener{pipe.Gateway: l})
	answer, err := d.post(ctx, `{"title":"bench"}`)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	_, id, _ := strings.Cut(string(answer), `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	d.path += "/" + id + "/message"
	return d, nil
}

func (d *directHarness) send(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	_, err := d.post(ctx, `{"model":{"providerID":"litellm","modelID":"scripted/echo"},"parts":[{"type":"text","text":"hello"}]}`)
	return time.Since(began), err
}

func (d *directHarness) post(ctx context.Context, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sandbox"+d.path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := d.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the harness answered %s: %s", res.Status, answer)
	}
	return answer, err
}

func (d *directHarness) close() error { return errors.Join(d.host.Close(), d.model.Close()) }

// memory reads the resident memory of the server and of an idle guest.
func memory(ctx context.Context, w *world) (_ []result, err error) {
	s, err := w.session(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.api.DeleteSession(context.WithoutCancel(ctx), s.ID)) }()
	top, err := w.engine.ContainerInspect(ctx, *s.TaskARN)
	if err != nil {
		return nil, err
	}
	guest, err := rss(top.State.Pid)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(w.stop(), w.start(ctx)); err != nil {
		return nil, err
	}
	w.api = client.New(w.url, key)
	if _, err := w.api.Session(ctx, s.ID); err != nil {
		return nil, err
	}
	serve, err := rss(w.serve.Pid())
	return []result{
		{"memory of an idle lap serve", serve, "40 MB allowed", ""},
		{"memory of an idle guest", guest, "20 MB allowed", ""},
	}, err
}

// rss is a process's resident memory as the kernel prints it.
func rss(pid int) (string, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if size, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(size), nil
		}
	}
	return "", errors.New("no VmRSS")
}
