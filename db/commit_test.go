package db_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/db"
)

type execFunc = func(query string, args ...any) error

// put stores a fact, whose key must be new.
func put(exec execFunc, key string) error {
	return exec(`INSERT INTO meta (key, value) VALUES (?, '')`, key)
}

// has reports whether a fact is stored.
func has(t *testing.T, s *db.Store, key string) bool {
	t.Helper()
	lines, err := s.Lines(t.Context(), `SELECT key FROM meta WHERE key = '`+key+`'`)
	if err != nil {
		t.Fatal(err)
	}
	return len(lines) > 0
}

// hold occupies the writer until release is called. Then one commit takes all that wait.
func hold(t *testing.T, s *db.Store) (release func()) {
	t.Helper()
	began, end := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.Tx(context.WithoutCancel(t.Context()), func(execFunc) error {
			close(began)
			<-end
			return errors.New("held long enough") // so that its time does not count
		})
		if err == nil {
			t.Error("no error")
		}
	})
	<-began
	return func() { close(end); wg.Wait() }
}

// awaitQueued waits until n writes wait.
func awaitQueued(t *testing.T, s *db.Store, n int) {
	t.Helper()
	for s.Queued() != n {
		if t.Context().Err() != nil {
			t.Fatal("no such queue")
		}
		runtime.Gosched()
	}
}

func TestWritesShareACommit(t *testing.T) {
	s := openStore(t, config(t))
	release := hold(t, s)
	refused := errors.New("refused")
	results := make([]error, 100)
	var wg sync.WaitGroup
	for n := range results {
		wg.Go(func() {
			results[n] = s.Tx(t.Context(), func(exec execFunc) error {
				if err := put(exec, fmt.Sprint("key", n)); err != nil {
					return err
				}
				switch n % 4 {
				case 1:
					return refused
				case 2:
					return put(exec, fmt.Sprint("key", n)) // is there already
				}
				return nil
			})
		})
	}
	awaitQueued(t, s, 100)
	release()
	wg.Wait()
	for n, err := range results {
		ok := n%4 == 0 || n%4 == 3
		if (err == nil) != ok || n%4 == 1 && !errors.Is(err, refused) || has(t, s, fmt.Sprint("key", n)) != ok {
			t.Errorf("write %d: err = %v, stored %t", n, err, has(t, s, fmt.Sprint("key", n)))
		}
	}
}

func TestPanicReachesItsCallerOnly(t *testing.T) {
	s := openStore(t, config(t))
	release := hold(t, s)
	panics := make([]any, 30)
	var wg sync.WaitGroup
	for n := range panics {
		wg.Go(func() {
			defer func() { panics[n] = recover() }()
			err := s.Tx(t.Context(), func(exec execFunc) error {
				if err := put(exec, fmt.Sprint("key", n)); err != nil {
					return err
				}
				if n%3 == 0 {
					panic(n)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	awaitQueued(t, s, len(panics))
	release()
	wg.Wait()
	for n, got := range panics {
		if want := n%3 == 0; want && got != n || !want && got != nil || has(t, s, fmt.Sprint("key", n)) == want {
			t.Errorf("write %d: panic = %v, stored %t", n, got, has(t, s, fmt.Sprint("key", n)))
		}
	}
}

func TestWhoLeavesTheQueueIsNotRun(t *testing.T) {
	s := openStore(t, config(t))
	release := hold(t, s)
	leaving, cancel := context.WithCancel(t.Context())
	var ran, stayed atomic.Int64
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			err := s.Tx(leaving, func(execFunc) error { ran.Add(1); return nil })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("err = %v", err)
			}
		})
		wg.Go(func() {
			if err := s.Tx(t.Context(), func(execFunc) error { stayed.Add(1); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	awaitQueued(t, s, 20)
	cancel()
	awaitQueued(t, s, 10)
	release()
	wg.Wait()
	if ran.Load() != 0 || stayed.Load() != 10 {
		t.Errorf("%d that left ran, and %d of 10 that stayed", ran.Load(), stayed.Load())
	}
	if err := s.Tx(leaving, func(execFunc) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

// TestWhoLeavesLateIsDone: SQLite undoes a whole transaction when a statement in it is
// interrupted, and others are in it.
func TestWhoLeavesLateIsDone(t *testing.T) {
	s := openStore(t, config(t))
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Tx(ctx, func(exec execFunc) error {
		cancel()
		return errors.Join(put(exec, "a"), put(exec, "b"))
	})
	if err != nil || !has(t, s, "a") || !has(t, s, "b") {
		t.Errorf("err = %v", err)
	}
}

func TestEndedGoroutineHoldsNobodyUp(t *testing.T) {
	s := openStore(t, config(t))
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Tx(t.Context(), func(exec execFunc) error {
			_ = put(exec, "key")
			runtime.Goexit()
			return nil
		})
	})
	wg.Wait()
	if has(t, s, "key") {
		t.Error("stored")
	}
	if err := s.Tx(t.Context(), func(exec execFunc) error { return put(exec, "next") }); err != nil {
		t.Error(err)
	}
}

// A recorder is a hook that notes the commits, and makes them fail with err.
type recorder struct {
	mu      sync.Mutex // guards what follows
	commits [][]string
	err     error
}

func (r *recorder) Name() string { return "a write" }

func (r *recorder) Commit(writes []string, commit func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commits = append(r.commits, writes)
	if r.err != nil {
		return r.err
	}
	return commit()
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.commits)
}

func TestHook(t *testing.T) {
	cfg, r := config(t), &recorder{}
	cfg.Hook = r
	s := openStore(t, cfg)
	write := func(key string) error {
		return s.Tx(t.Context(), func(exec execFunc) error { return put(exec, key) })
	}
	if err := write("a"); err != nil {
		t.Fatal(err)
	}
	if err := write("a"); err == nil {
		t.Error("stored twice")
	}
	refused := errors.New("refused")
	r.err = refused
	if err := write("b"); !errors.Is(err, refused) || has(t, s, "b") {
		t.Errorf("err = %v, stored %t", err, has(t, s, "b"))
	}
	r.err = nil
	if err := write("c"); err != nil || !has(t, s, "a") || !has(t, s, "c") {
		t.Error(err)
	}
	if diff := cmp.Diff([][]string{{"a write"}, {"a write"}, {"a write"}}, r.commits); diff != "" {
		t.Error(diff) // what fails by itself is in none
	}
}

// TestLostTransactionIsToldToAll ends the shared transaction behind its back, as SQLite
// does when the disk is full.
func TestLostTransactionIsToldToAll(t *testing.T) {
	cfg, r := config(t), &recorder{}
	cfg.Hook = r
	s := openStore(t, cfg)
	release := hold(t, s)
	results, commits := make([]error, 9), make([]int, 9) // before each
	var wg sync.WaitGroup
	for n := range results {
		wg.Go(func() {
			results[n] = s.Tx(t.Context(), func(exec execFunc) error {
				commits[n] = r.count()
				if n == 4 {
					return errors.Join(exec(`ROLLBACK`), errors.New("lost"))
				}
				return put(exec, fmt.Sprint("key", n))
			})
		})
		awaitQueued(t, s, n+1)
	}
	release()
	wg.Wait()
	for n, err := range results {
		lost := n <= 4 && commits[n] == commits[4] // a slow machine may need several
		if stored := has(t, s, fmt.Sprint("key", n)); stored == lost || (err == nil) == lost {
			t.Errorf("write %d: err = %v, stored %t, lost %t", n, err, stored, lost)
		}
	}
	if err := s.Tx(t.Context(), func(exec execFunc) error { return put(exec, "next") }); err != nil || !has(t, s, "next") {
		t.Error(err)
	}
}

func TestACommitIsBounded(t *testing.T) {
	s := openStore(t, config(t))
	release := hold(t, s)
	results := make(chan int, 1000)
	var wg sync.WaitGroup
	for n := range 1000 { // more than one commit takes
		wg.Go(func() {
			if err := s.Tx(t.Context(), func(exec execFunc) error { return put(exec, fmt.Sprint("key", n)) }); err != nil {
				t.Error(err)
			}
			results <- n
		})
	}
	awaitQueued(t, s, 1000)
	release()
	wg.Wait()
	if n := len(results); n != 1000 {
		t.Errorf("%d of 1000 were answered", n)
	}
}

// TestManyKindsOfWrites mixes all that can happen to a write, and counts what is stored.
func TestManyKindsOfWrites(t *testing.T) {
	s := openStore(t, config(t))
	var wg sync.WaitGroup
	var want sync.Map
	for worker := range 40 {
		r := rand.New(rand.NewPCG(3, uint64(worker)))
		wg.Go(func() {
			for n := range 25 {
				key, kind := fmt.Sprintf("key %d %d", worker, n), r.IntN(6)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(2000)+1)*time.Microsecond)
				if kind > 0 {
					cancel()
					ctx, cancel = context.WithCancel(t.Context())
				}
				ran := false
				err := mixedWrite(ctx, s, kind, key, &ran)
				cancel()
				if ran && err == nil {
					want.Store(key, true)
				}
				if left := errors.Is(err, context.DeadlineExceeded); left && (ran || kind > 0) || err == nil && !ran {
					t.Errorf("kind %d: ran %t, %v", kind, ran, err)
				}
			}
		})
	}
	wg.Wait()
	lines, err := s.Lines(t.Context(), `SELECT key FROM meta`)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range lines {
		if _, ok := want.LoadAndDelete(key); !ok {
			t.Errorf("%q is stored", key)
		}
	}
	want.Range(func(key, _ any) bool {
		t.Errorf("%q is not stored", key)
		return true
	})
}

func mixedWrite(ctx context.Context, s *db.Store, kind int, key string, ran *bool) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return s.Tx(ctx, func(exec execFunc) error {
		if *ran {
			return errors.New("run twice")
		}
		*ran = true
		if err := put(exec, key); err != nil {
			return err
		}
		switch kind {
		case 1:
			return errors.New("refused")
		case 2:
			panic(strings.Repeat("x", 3))
		case 3:
			return put(exec, key)
		}
		return nil
	})
}
