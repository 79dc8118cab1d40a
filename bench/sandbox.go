package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/docker/docker/api/types/container"

	"lap/sandbox/pipe"
)

// cold compares a session, from POST to ready, with create and start of a container of
// the same image that does nothing. The two alternate, so that both see the same machine.
func cold(ctx context.Context, w *world) ([]result, error) {
	var floors []time.Duration
	session, err := median(runs, func() (time.Duration, error) {
		floor, err := w.rawContainer(ctx)
		if err != nil {
			return 0, err
		}
		floors = append(floors, floor)
		return w.timedSession(ctx)
	})
	if err != nil {
		return nil, err
	}
	floor := middle(floors)
	return []result{{"cold session, POST to ready", ms(session), ms(floor) + " raw create + start", ratio(session, floor)}}, nil
}

// rawContainer creates and starts a container and says how long that took.
func (w *world) rawContainer(ctx context.Context) (took time.Duration, err error) {
	began := time.Now()
	c, err := w.engine.ContainerCreate(ctx, &container.Config{Image: image, Cmd: []string{"sleep", "3600"}},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, "")
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, w.engine.ContainerRemove(context.WithoutCancel(ctx), c.ID, container.RemoveOptions{Force: true}))
	}()
	err = w.engine.ContainerStart(ctx, c.ID, container.StartOptions{})
	return time.Since(began), err
}

// pipes compares the two ways to open a pipe: attached before the start, and by an exec
// afterwards. Both include the first answer of the guest.
func pipes(ctx context.Context, w *world) ([]result, error) {
	var n int
	var execs, starts []time.Duration
	attach, err := median(runs/2, func() (_ time.Duration, err error) {
		n++
		began := time.Now()
		id, err := w.runtime.Create(ctx, spec(n))
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, w.runtime.Remove(ctx, id)) }()
		conn, err := w.runtime.Start(ctx, id)
		if err != nil {
			return 0, err
		}
		starts = append(starts, time.Since(began))
		if err := health(ctx, conn); err != nil {
			return 0, err
		}
		attached := time.Since(began)
		began = time.Now()
		if conn, err = w.runtime.Dial(ctx, id); err != nil {
			return 0, err
		}
		err = health(ctx, conn)
		execs = append(execs, time.Since(began))
		return attached, err
	})
	if err != nil {
		return nil, err
	}
	exec, start := middle(execs), middle(starts)
	return []result{
		{"pipe by attach, to first answer", ms(attach - start), ms(start) + " create + start", "+" + ms(attach-start)},
		{"pipe by exec, to first answer", ms(exec), ms(start) + " create + start", "+" + ms(exec)},
	}, nil
}

// health asks the guest over a new pipe whether it is there, and closes the pipe.
func health(ctx context.Context, conn io.ReadWriteCloser) (err error) {
	host, err := pipe.NewHost(conn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sandbox/health", nil)
	if err != nil {
		return err
	}
	res, err := sandboxHTTP(host).Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func sandboxHTTP(host *pipe.Host) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return host.Dial(ctx) },
	}}
}
