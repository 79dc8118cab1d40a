package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"

	"lap/client"
)

// warm measures a session that takes a warm sandbox, from POST to ready, once the pool
// is full again.
func warm(ctx context.Context, w *world) (_ []result, err error) {
	if err := w.restart(ctx, 1, 0); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.restart(context.WithoutCancel(ctx), 0, 0)) }()
	first, err := w.session(ctx) // from now on the agent is one that was used lately
	if err != nil {
		return nil, err
	}
	took, err := median(runs, func() (time.Duration, error) {
		if err := w.awaitWarm(ctx, first); err != nil {
			return 0, err
		}
		return w.timedSession(ctx)
	})
	if err != nil {
		return nil, err
	}
	floor, err := w.rawContainer(ctx)
	return []result{{"warm session, POST to ready", ms(took), ms(floor) + " raw create + start", ratio(took, floor)}},
		errors.Join(err, w.api.DeleteSession(ctx, first.ID))
}

// awaitWarm waits until the pool has a sandbox, and a moment more, as people do.
func (w *world) awaitWarm(ctx context.Context, s client.Session) error {
	for range 1000 {
		seen, err := w.api.Diagnose(ctx, s.ID)
		if err != nil {
			return err
		}
		if seen.WarmPool.Warm > 0 {
			time.Sleep(50 * time.Millisecond)
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the pool stays empty")
}

// thaw compares what a frozen sandbox adds to a message with what the engine takes to
// let the container go on.
func thaw(ctx context.Context, w *world) (_ []result, err error) {
	if err := w.restart(ctx, 0, 100*time.Millisecond); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.restart(context.WithoutCancel(ctx), 0, 0)) }()
	s, err := w.session(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.api.DeleteSession(context.WithoutCancel(ctx), s.ID)) }()
	send := func() (time.Duration, error) {
		began := time.Now()
		_, err := w.api.Send(ctx, s.ID, "hello")
		return time.Since(began), err
	}
	var raws, awake []time.Duration
	frozen, err := median(runs, func() (time.Duration, error) {
		if err := w.awaitFrozen(ctx, *s.TaskARN); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := w.engine.ContainerUnpause(ctx, *s.TaskARN); err != nil {
			return 0, err
		}
		raws = append(raws, time.Since(began))
		if err := w.engine.ContainerPause(ctx, *s.TaskARN); err != nil {
			return 0, err
		}
		took, err := send()
		if err != nil {
			return 0, err
		}
		again, err := send()
		awake = append(awake, again)
		return took, err
	})
	if err != nil {
		return nil, err
	}
	added, raw := frozen-middle(awake), middle(raws)
	return []result{{"thaw, added to a message", ms(added), ms(raw) + " raw unpause", "+" + ms(added-raw)}}, nil
}

// awaitFrozen waits until lap has paused a container.
func (w *world) awaitFrozen(ctx context.Context, id string) error {
	for range 1000 {
		c, err := w.engine.ContainerInspect(ctx, id)
		if err != nil || c.State.Paused {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the sandbox is not frozen")
}

const many = 100 // sessions that a new process finds

// adoption measures how long after a kill the last of many ready sessions has answered a
// message, all asked at once.
func adoption(ctx context.Context, w *world) (_ []result, err error) {
	agent, err := w.api.CreateAgent(ctx, client.NewAgent{Name: "many", Model: "scripted/echo", HarnessID: "lap"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.api.DeleteAgent(context.WithoutCancel(ctx), agent.ID)) }()
	ids := make([]string, many)
	for i := range ids {
		s, err := w.sessionOf(ctx, agent.ID)
		if err != nil {
			return nil, err
		}
		ids[i] = s.ID
	}
	if err := w.serve.Signal(syscall.SIGKILL); err != nil {
		return nil, err
	}
	_ = w.serve.Wait() // killed, as wanted
	began := time.Now()
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	w.api = client.New(w.url, key)
	one, err := w.ask(ctx, ids[many/2:many/2+1], began)
	if err != nil {
		return nil, err
	}
	all, err := w.ask(ctx, ids, began)
	return []result{
		{"after kill -9, one of 100 sessions answers", ms(one), "2000 ms allowed", ""},
		{"after kill -9, all 100 have answered", ms(all), "", ""},
	}, err
}

// ask sends a message to sessions at once and returns when the last has answered.
func (w *world) ask(ctx context.Context, ids []string, began time.Time) (time.Duration, error) {
	errs := make([]error, len(ids))
	var asking sync.WaitGroup
	for i, id := range ids {
		asking.Go(func() { _, errs[i] = w.api.Send(ctx, id, "still there?") })
	}
	asking.Wait()
	return time.Since(began), errors.Join(errs...)
}

// share says what one idle sandbox takes, lap's own share of it apart.
func share(ctx context.Context, w *world) (_ []result, err error) {
	const n = 20
	agent, err := w.api.CreateAgent(ctx, client.NewAgent{Name: "idle", Model: "scripted/echo", HarnessID: "lap"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.api.DeleteAgent(context.WithoutCancel(ctx), agent.ID)) }()
	before, err := kilobytes(w.serve.Pid())
	if err != nil {
		return nil, err
	}
	var last client.Session
	for range n {
		if last, err = w.sessionOf(ctx, agent.ID); err != nil {
			return nil, err
		}
	}
	after, err := kilobytes(w.serve.Pid())
	if err != nil {
		return nil, err
	}
	c, err := w.engine.ContainerInspect(ctx, *last.TaskARN)
	if err != nil {
		return nil, err
	}
	guest, err := kilobytes(c.State.Pid)
	if err != nil {
		return nil, err
	}
	used, err := w.memoryOf(ctx, *last.TaskARN)
	return []result{
		{"an idle sandbox, charged to it", fmt.Sprintf("%d kB", used), fmt.Sprintf("%d kB its guest", guest), ""},
		{"an idle sandbox, in lap serve", fmt.Sprintf("%d kB", (after-before)/n), "", ""},
	}, err
}

// memoryOf is what the engine charges a container for, in kB.
func (w *world) memoryOf(ctx context.Context, id string) (uint64, error) {
	res, err := w.engine.ContainerStatsOneShot(ctx, id)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var stats container.StatsResponse
	err = decode(res.Body, &stats)
	return stats.MemoryStats.Usage / 1024, err
}

// kilobytes is rss as a number.
func kilobytes(pid int) (int, error) {
	text, err := rss(pid)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSuffix(text, " kB"))
}
