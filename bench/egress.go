package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// rounds is how often what goes through the vault and its floor take turns.
const rounds = 3

// egress measures the way out of a sandbox against the same client on the host.
func egress(ctx context.Context, w *world) (rows []result, err error) {
	o, err := newOutside(ctx, w, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.close(context.WithoutCancel(ctx))) }()
	mem, err := watch(w.serve.Pid())
	if err != nil {
		return nil, err
	}
	defer mem.stop()
	for _, measure := range []func(context.Context) ([]result, error){o.latencies, o.loads, o.transfers} {
		more, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	idle, peak := mem.idle, mem.stop()
	return append(rows, result{"lap serve during all that, at most", fmt.Sprintf("%d kB", peak), fmt.Sprintf("%d kB before", idle), fmt.Sprintf("+%d kB", peak-idle)}), nil
}

// both runs the probe in the sandbox and on the host by turns, and returns of each the
// measure with the middle rate, or the middle p50 when there is no rate.
func (o *outside) both(ctx context.Context, n int, args ...string) (in, floor measure, err error) {
	var ins, floors []measure
	for range n {
		in, err := o.inside(ctx, args...)
		if err != nil {
			return in, floor, err
		}
		floor, err := o.beside(ctx, args...)
		if err != nil {
			return in, floor, err
		}
		ins, floors = append(ins, in), append(floors, floor)
	}
	return typical(ins), typical(floors), nil
}

// latencies are what one request takes longer.
func (o *outside) latencies(ctx context.Context) ([]result, error) {
	var rows []result
	for _, fresh := range []bool{false, true} {
		what, n := "request on an open connection, ", 1000
		if fresh {
			what, n = "request on a new connection, ", 200
		}
		for _, k := range kinds {
			in, floor, err := o.both(ctx, rounds, "-do", "latency", "-n", strconv.Itoa(n), "-fresh="+strconv.FormatBool(fresh), "-url", o.url(k))
			if err != nil {
				return nil, err
			}
			rows = append(rows, result{what + k.name, ms(in.P50), ms(floor.P50) + " direct", "+" + ms(in.P50-floor.P50)})
		}
	}
	return rows, nil
}

// loads are requests on 200 connections at once.
func (o *outside) loads(ctx context.Context) ([]result, error) {
	var rows []result
	for _, k := range kinds {
		in, floor, err := o.both(ctx, rounds, "-do", "load", "-conns", "200", "-span", "2s", "-url", o.url(k))
		if err != nil {
			return nil, err
		}
		rows = append(rows,
			result{"200 connections, " + k.name, fmt.Sprintf("%.0f /s", in.Rate), fmt.Sprintf("%.0f /s direct", floor.Rate), fmt.Sprintf("%.2f x", in.Rate/floor.Rate)},
			result{"200 connections, p99, " + k.name, ms(in.P99), ms(floor.P99) + " direct", ratio(in.P99, floor.P99)})
	}
	return rows, nil
}

// transfer is how many bytes are sent each way.
const transfer = 256 << 20

// transfers are large downloads and uploads. They have a second floor: the engine's own
// stream into the sandbox, with nothing of lap in it.
func (o *outside) transfers(ctx context.Context) ([]result, error) {
	var rows []result
	for _, way := range []struct {
		name, do string
		raw      func(context.Context, *outside) (float64, error)
	}{{"download", "down", rawDown}, {"upload", "up", rawUp}} {
		raw, err := typicalRate(func() (float64, error) { return way.raw(ctx, o) })
		if err != nil {
			return nil, err
		}
		for _, k := range kinds {
			in, floor, err := o.both(ctx, rounds, "-do", way.do, "-bytes", strconv.Itoa(transfer), "-url", o.url(k))
			if err != nil {
				return nil, err
			}
			rows = append(rows, result{
				fmt.Sprintf("%s of %d MiB, %s", way.name, transfer>>20, k.name), mbs(in.Rate), mbs(floor.Rate) + " direct, " + mbs(raw) + " raw pipe",
				fmt.Sprintf("%.2f x, %.2f x the pipe", in.Rate/floor.Rate, in.Rate/raw),
			})
		}
	}
	return rows, nil
}

// credentials measures what it costs a request to find those of its session, by how much
// longer it takes with many.
func credentials(ctx context.Context, w *world) ([]result, error) {
	const n = 50
	var took [2]time.Duration
	for i, count := range []int{1, n} {
		p50, err := openedRequest(ctx, w, count)
		if err != nil {
			return nil, err
		}
		took[i] = p50
	}
	return []result{{fmt.Sprintf("opened request with %d credentials", n), ms(took[1]), ms(took[0]) + " with one", "+" + ms(took[1]-took[0])}}, nil
}

// openedRequest is what a request takes in a session with so many credentials.
func openedRequest(ctx context.Context, w *world, count int) (_ time.Duration, err error) {
	o, err := newOutside(ctx, w, count)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, o.close(context.WithoutCancel(ctx))) }()
	m, err := o.inside(ctx, "-do", "latency", "-n", "1000", "-url", o.url(kinds[1]))
	return m.P50, err
}

func mbs(rate float64) string { return fmt.Sprintf("%.0f MB/s", rate/1e6) }
