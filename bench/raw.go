package main

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
)

// typical is the measure in the middle.
func typical(all []measure) measure {
	slices.SortFunc(all, func(a, b measure) int { return cmp.Or(cmp.Compare(a.Rate, b.Rate), cmp.Compare(a.P50, b.P50)) })
	return all[len(all)/2]
}

// typicalRate takes a rate some times, and returns the one in the middle.
func typicalRate(take func() (float64, error)) (float64, error) {
	var all []float64
	for range rounds {
		rate, err := take()
		if err != nil {
			return 0, err
		}
		all = append(all, rate)
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// rawDown is how fast the engine carries bytes into the sandbox.
func rawDown(ctx context.Context, o *outside) (float64, error) {
	return o.exec(ctx, "head -c "+strconv.Itoa(transfer)+" >/dev/null", transfer)
}

// rawUp is how fast the engine carries bytes out of the sandbox.
func rawUp(ctx context.Context, o *outside) (float64, error) {
	return o.exec(ctx, "head -c "+strconv.Itoa(transfer)+" /dev/zero", 0)
}

// exec runs a command in the sandbox, sends it bytes, and returns how many a second have
// passed when its output has ended: transfer in one of the directions.
func (o *outside) exec(ctx context.Context, command string, send int64) (float64, error) {
	exec, err := o.w.engine.ContainerExecCreate(ctx, *o.session.TaskARN, container.ExecOptions{
		Cmd: []string{"sh", "-c", command}, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return 0, err
	}
	pipe, err := o.w.engine.ContainerExecAttach(ctx, exec.ID, container.ExecAttachOptions{})
	if err != nil {
		return 0, err
	}
	defer pipe.Close()
	began := time.Now()
	var sending sync.WaitGroup
	sending.Go(func() { // an error shows as the end of the output
		piece := strings.Repeat("x", 64<<10)
		for ; send > 0; send -= int64(len(piece)) {
			if _, err := io.WriteString(pipe.Conn, piece); err != nil {
				return
			}
		}
	})
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{pipe.Reader}, make([]byte, 64<<10))
	sending.Wait()
	return transfer / time.Since(began).Seconds(), err
}

// A watched is a process whose memory is looked at.
type watched struct {
	idle int // kB, in the beginning
	stop func() (peak int)
}

// watch looks at a process until stop.
func watch(pid int) (*watched, error) {
	idle, err := kilobytes(pid)
	if err != nil {
		return nil, err
	}
	peak, end, ended := idle, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-tick.C:
				if now, err := kilobytes(pid); err == nil { // it may be ending
					peak = max(peak, now)
				}
			case <-end:
				tick.Stop()
				return
			}
		}
	}()
	halt := sync.OnceFunc(func() { close(end) })
	return &watched{idle, func() int { halt(); <-ended; return peak }}, nil
}
