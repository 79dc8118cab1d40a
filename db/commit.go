package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// One commit costs one wait for the disk, however much is in it. So callers queue, and
// whoever gets the connection runs the functions of all of them in one transaction.
const (
	commitJobs = 256                   // at most in one commit
	commitTime = 20 * time.Millisecond // after which a commit takes no more in
)

// errExit is what the others get when a function ends the goroutine that runs them.
var errExit = errors.New("a write ended its goroutine")

// A job is a function that waits to be run in a write transaction.
type job struct {
	ctx      context.Context // of its caller
	fn       func(tx) error
	name     string        // for the hook, when there is one
	done     chan struct{} // closed when err and panicked are final
	err      error
	panicked any
}

func (j *job) call(t tx) {
	defer func() { j.panicked = recover() }()
	j.err = j.fn(t)
}

func (j *job) failed() bool { return j.err != nil || j.panicked != nil }

// outcome is what the caller of a job that is done gets.
func (j *job) outcome() error {
	if j.panicked != nil {
		panic(j.panicked)
	}
	return j.err
}

// tx runs fn as Store.tx says. A caller that leaves while it waits is not run; once its
// function has begun, that does not matter any more.
func (w *writer) tx(ctx context.Context, fn func(tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: ctx, fn: fn, done: make(chan struct{})}
	if w.hook != nil {
		j.name = w.hook.Name()
	}
	w.mu.Lock()
	w.queue = append(w.queue, j)
	w.mu.Unlock()
	for {
		select {
		case <-j.done:
			return j.outcome()
		case <-w.turn:
			w.lead(ctx, j)
		case <-ctx.Done():
			if w.leave(j) {
				return ctx.Err()
			}
			<-j.done
			return j.outcome()
		}
	}
}

// lead makes one commit, unless j was in the one before, and hands the connection on.
// There may be so much before j in the queue that j is not in it.
func (w *writer) lead(ctx context.Context, j *job) {
	defer func() { w.turn <- struct{}{} }()
	select {
	case <-j.done:
	default:
		w.commit(context.WithoutCancel(ctx))
	}
}

// leave takes j out of the queue and reports whether it was still there.
func (w *writer) leave(j *job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.queue, j)
	if i >= 0 {
		w.queue = slices.Delete(w.queue, i, i+1)
	}
	return i >= 0
}

// next takes the first job whose caller still waits out of the queue, nil: there is none.
func (w *writer) next() *job {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		j := w.queue[0]
		w.queue[0], w.queue = nil, w.queue[1:]
		if j.err = j.ctx.Err(); j.err == nil {
			return j
		}
		close(j.done)
	}
	return nil
}

// A batch is the transaction of one commit.
type batch struct {
	tx
	jobs []*job
	open bool // the transaction has begun
}

// commit runs queued jobs in one transaction, commits it and answers them.
func (w *writer) commit(ctx context.Context) {
	b := &batch{tx: tx{w}}
	err := errExit
	defer func() { b.answer(ctx, err) }()
	err = b.run(ctx)
}

func (b *batch) run(ctx context.Context) error {
	for began := time.Now(); len(b.jobs) < commitJobs && time.Since(began) < commitTime; {
		j := b.w.next()
		if j == nil {
			break
		}
		if err := b.add(ctx, j); err != nil {
			return err
		}
	}
	if !b.open {
		return nil
	}
	err := b.settle(func() error {
		_, err := b.exec(ctx, `COMMIT`)
		return err
	})
	b.w.commits.Add(1) // before anybody is told: what was kept from before is out of date
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	b.open = false
	return nil
}

// add runs one job, and undoes it when it fails: the first with the transaction, later
// ones to where they began. The error is one of the whole batch.
func (b *batch) add(ctx context.Context, j *job) error {
	b.jobs = append(b.jobs, j)
	if !b.open {
		return b.begin(ctx, j)
	}
	if _, err := b.exec(ctx, `SAVEPOINT job`); err != nil {
		return err
	}
	j.call(b.tx)
	if j.failed() {
		if _, err := b.exec(ctx, `ROLLBACK TO job`); err != nil {
			return err // SQLite gave up the whole transaction
		}
	}
	_, err := b.exec(ctx, `RELEASE job`)
	return err
}

func (b *batch) begin(ctx context.Context, j *job) error {
	if _, err := b.exec(ctx, `BEGIN IMMEDIATE`); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	b.open = true
	j.call(b.tx)
	if !j.failed() {
		return nil
	}
	b.open = false
	_, err := b.exec(ctx, `ROLLBACK`)
	return err
}

// answer ends the batch: jobs that did not fail by themselves get its error.
func (b *batch) answer(ctx context.Context, err error) {
	if b.open {
		_, rerr := b.exec(ctx, `ROLLBACK`)
		err = errors.Join(err, rerr)
	}
	for _, j := range b.jobs {
		if !j.failed() {
			j.err = err
		}
		close(j.done)
	}
}
