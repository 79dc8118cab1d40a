package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"lap/db"
	"lap/server/session"
)

// feed begins to read the log of a session.
func (w *world) feed(tb testing.TB, id string, after int64) *session.Feed {
	tb.Helper()
	f, err := w.Feed(tb.Context(), id, after)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// logged is the log of a session, as "seq body" lines, checked to be without gaps.
func (w *world) logged(tb testing.TB, id string) []string {
	tb.Helper()
	var lines []string
	for after := int64(0); ; {
		events, err := w.store.Events(tb.Context(), id, after, 100)
		if err != nil {
			tb.Fatal(err)
		}
		if len(events) == 0 {
			return lines
		}
		for _, ev := range events {
			if ev.Seq != after+1 {
				tb.Fatalf("event %d follows %d", ev.Seq, after)
			}
			after = ev.Seq
			lines = append(lines, line(ev))
		}
	}
}

func line(ev db.Event) string { return fmt.Sprintf("%d %s", ev.Seq, ev.Body) }

// read reads a feed until it has an event that ok accepts.
func read(ctx context.Context, f *session.Feed, ok func(string) bool) ([]string, error) {
	var lines []string
	for {
		events, err := f.Next(ctx)
		if err != nil {
			return lines, err
		}
		for _, ev := range events {
			lines = append(lines, line(ev))
			if ok(lines[len(lines)-1]) {
				return lines, nil
			}
		}
	}
}

func isIdle(line string) bool { return strings.Contains(line, `"session.idle"`) }

// awaitIdle waits until the newest event of a session says that it is idle.
func (w *world) awaitIdle(tb testing.TB, id string) {
	tb.Helper()
	eventually(tb, func() error {
		if lines := w.logged(tb, id); len(lines) == 0 || !isIdle(lines[len(lines)-1]) {
			return fmt.Errorf("the log is %q", lines)
		}
		return nil
	})
}

// awaitBegun waits until the log of a session has what holding begins with. What is in
// the thread may not be stored yet.
func (w *world) awaitBegun(tb testing.TB, id string) {
	tb.Helper()
	eventually(tb, func() error {
		if lines := w.logged(tb, id); !strings.Contains(strings.Join(lines, "\n"), "begun, ") {
			return fmt.Errorf("the log is %q", lines)
		}
		return nil
	})
}

func TestFeed(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.say(t, s.ID, "one")
	w.awaitIdle(t, s.ID)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first, err := read(ctx, w.feed(t, s.ID, 0), isIdle)
	if err != nil {
		t.Fatal(err)
	}
	f := w.feed(t, s.ID, -1) // from now on
	if f.After() != int64(len(first)) {
		t.Errorf("now is after event %d, want %d", f.After(), len(first))
	}
	w.say(t, s.ID, "two")
	second, err := read(ctx, f, isIdle)
	if err != nil {
		t.Fatal(err)
	}
	again, err := read(ctx, w.feed(t, s.ID, int64(len(first))), isIdle)
	if err != nil || !slices.Equal(again, second) {
		t.Errorf("read again: %q, %v, want %q", again, err, second)
	}
	if all := w.logged(t, s.ID); !slices.Equal(all, slices.Concat(first, second)) {
		t.Errorf("log: %q", all)
	}
	if _, err := w.Feed(t.Context(), s.ID, 1000); !errors.Is(err, session.ErrAhead) {
		t.Errorf("a place that is not there yet: %v", err)
	}
	if _, err := w.Feed(t.Context(), "no-such", -1); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("unknown session: %v", err)
	}
}

func TestFeedEndsWithItsSession(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.say(t, s.ID, "one")
	ended := make(chan error, 3)
	for _, after := range []int64{0, -1} {
		f := w.feed(t, s.ID, after)
		go func() {
			_, err := read(t.Context(), f, func(string) bool { return false })
			ended <- err
		}()
	}
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := receive(t, ended); !errors.Is(err, session.ErrEnded) {
			t.Errorf("error = %v", err)
		}
	}
	lines, err := read(t.Context(), w.feed(t, s.ID, 0), func(string) bool { return false })
	if !errors.Is(err, session.ErrEnded) || !isIdle(lines[len(lines)-1]) {
		t.Errorf("the log of a session that is over: %q, %v", lines, err)
	}
	if n := session.Lives(w.Engine); n != 0 {
		t.Errorf("%d sessions are held", n)
	}
}

func TestFeedGoesOnAcrossALoss(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f := w.feed(t, s.ID, -1)
	var got []string
	for _, next := range []func(){
		func() { w.runtime.vanish(*s.ContainerID) },
		func() {
			if _, err := w.Restart(t.Context(), s.ID, nil, nil); err != nil {
				t.Error(err)
			}
		},
		func() {},
	} {
		w.say(t, s.ID, "x")
		lines, err := read(ctx, f, isIdle)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, lines...)
		next()
	}
	if want := w.logged(t, s.ID); !slices.Equal(got, want) {
		t.Errorf("read %q, stored %q", got, want)
	}
}

func TestFeedEndsWithTheEngine(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	f := w.feed(t, s.ID, -1)
	ended := make(chan error, 1)
	go func() { _, err := f.Next(t.Context()); ended <- err }()
	w.stop()
	if err := receive(t, ended); !errors.Is(err, session.ErrStopping) {
		t.Errorf("error = %v", err)
	}
}

// babble is a harness that writes a lot.
func babble(pieces int) script {
	return func(h *harnessTurn) (int, string) {
		h.begin()
		for i := range pieces {
			h.write(fmt.Sprintf("%d ", i))
		}
		return h.finish()
	}
}

func TestManyReadersSeeTheSame(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.answer(babble(1000))
	const readers = 200
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	type result struct {
		lines []string
		err   error
	}
	results := make(chan result, readers)
	begin := make(chan struct{})
	for i := range readers {
		f := w.feed(t, s.ID, 0)
		go func() {
			if i%4 == 0 { // reads the log later
				<-begin
			}
			n := 0
			lines, err := read(ctx, f, func(line string) bool {
				if isIdle(line) {
					n++
				}
				return n == 2
			})
			results <- result{lines, err}
		}()
	}
	w.ask(t, s.ID, "one")
	close(begin)
	w.ask(t, s.ID, "two")
	var want []string
	for range readers {
		r := receive(t, results)
		if r.err != nil {
			t.Fatal(r.err)
		}
		if want == nil {
			want = r.lines
		}
		if !slices.Equal(r.lines, want) {
			t.Fatal("two readers saw different logs")
		}
	}
	if got := w.logged(t, s.ID); !slices.Equal(got, want) { // packed meanwhile, or not
		t.Error("the log is another one than was read")
	}
}

func TestLogIsWithoutGapsWhateverHappensToThePipe(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	const pieces = 600
	w.runtime.answer(func(h *harnessTurn) (int, string) {
		h.begin()
		for i := range pieces {
			h.write(fmt.Sprintf("%d ", i))
			if i%50 == 0 {
				w.runtime.cut(*s.ContainerID)
			}
		}
		return h.finish()
	})
	f := w.feed(t, s.ID, -1)
	w.ask(t, s.ID, "one")
	lines, err := read(ctx, f, isIdle)
	if err != nil {
		t.Fatal(err)
	}
	checkPieces(t, lines, pieces)
	if got := w.logged(t, s.ID); !slices.Equal(got, lines) {
		t.Error("the log is another one than was read")
	}
}

// checkPieces checks that each piece of what babble writes is in a log once, in order.
func checkPieces(t *testing.T, lines []string, n int) {
	t.Helper()
	next := 0
	for _, line := range lines {
		var ev struct{ Properties struct{ Delta string } }
		_, body, _ := strings.Cut(line, " ")
		if err := json.Unmarshal([]byte(body), &ev); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(line, `"message.part.delta"`) {
			continue
		}
		if ev.Properties.Delta != fmt.Sprintf("%d ", next) {
			t.Fatalf("delta %q, want %d", ev.Properties.Delta, next)
		}
		next++
	}
	if next != n {
		t.Fatalf("%d deltas, want %d", next, n)
	}
}

func TestLogIsWithoutGapsAcrossProcesses(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	const pieces = 300
	step := make(chan struct{})
	w.runtime.answer(func(h *harnessTurn) (int, string) {
		h.begin()
		for i := range pieces {
			h.write(fmt.Sprintf("%d ", i))
			if i%100 == 50 {
				step <- struct{}{}
			}
		}
		return h.finish()
	})
	w.begin(t, s.ID, "one")
	for range 3 {
		receive(t, step)
		w.restart(t)
	}
	w.awaitTurns(t, s.ID, "complete one")
	w.awaitIdle(t, s.ID)
	checkPieces(t, w.logged(t, s.ID), pieces)
	w.awaitSaid(t, s.ID, "user: one\nassistant: "+numbers(pieces))
}

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d ", i)
	}
	return b.String()
}

func TestJournalThatIsGarbageForAWhile(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	garbage := []string{
		"nonsense\n", "{}\n", "[1,2]\n", `{"n":7}` + "\n", `{"n":-1}` + "\n", "\x00\xff\n", `{"n":1,"lost":-5}` + "\n",
		`{"n":9223372036854775807,"lost":9223372036854775807}` + "\n", `{"n":1`, "",
	}
	asked := 0
	w.runtime.set(func() {
		w.runtime.journal = func(rw http.ResponseWriter, _ *http.Request, _ *fakeGuest) bool {
			w.runtime.mu.Lock()
			defer w.runtime.mu.Unlock()
			if asked >= 2*len(garbage) {
				return false
			}
			text := garbage[asked%len(garbage)]
			asked++
			_, _ = rw.Write([]byte(text))
			return true
		}
	})
	w.runtime.cut(*s.ContainerID)
	w.runtime.answer(babble(50))
	reply := w.send(t.Context(), s.ID, "one")
	for range 2*len(garbage) + 1 { // it is asked again after pauses that grow: begin anew
		w.runtime.cut(*s.ContainerID)
	}
	w.runtime.set(func() { asked = 2 * len(garbage) })
	if a := receive(t, reply); a.err != nil {
		t.Fatal(a.err)
	}
	w.awaitIdle(t, s.ID)
	checkPieces(t, w.logged(t, s.ID), 50)
}

func TestReadersAreBroughtUpToDateWhenEntriesWereLost(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.say(t, s.ID, "before")
	w.awaitIdle(t, s.ID)
	step := make(chan struct{})
	w.runtime.answer(func(h *harnessTurn) (int, string) {
		r := h.guest.runtime
		h.begin()
		h.write("seen, ")
		step <- struct{}{}
		r.set(func() { h.guest.losing = true })
		h.write("lost, ")
		h.message("assistant", "lost as a whole")
		r.set(func() { h.guest.losing = false })
		h.write("seen again")
		return h.finish()
	})
	f := w.feed(t, s.ID, -1)
	w.begin(t, s.ID, "one")
	receive(t, step)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lines, err := read(ctx, f, isIdle)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(lines, "\n")
	if !strings.Contains(text, "lost as a whole") || strings.Contains(text, "before") {
		t.Errorf("the readers were told %s", text)
	}
	w.awaitSaid(t, s.ID, "user: before\nassistant: echo: before\nuser: one\nassistant: seen, lost, seen again\nassistant: lost as a whole")
	w.awaitTurns(t, s.ID, "complete before\ncomplete one")
}

func TestResultBesideEntriesThatWereLost(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	w.begin(t, s.ID, "one")
	h := receive(t, entered)
	w.stop()
	w.runtime.set(func() { h.guest.losing = true })
	h.write("lost, ")
	w.runtime.set(func() { h.guest.losing = false })
	close(leave)
	w.start(t)
	w.awaitTurns(t, s.ID, "complete one")
	w.awaitSaid(t, s.ID, "user: one\nassistant: begun, lost, done: one")
}

func TestSlowReaderReadsTheLog(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	f := w.feed(t, s.ID, -1)
	w.runtime.answer(babble(2000)) // more than is held
	w.ask(t, s.ID, "one")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lines, err := read(ctx, f, isIdle)
	if err != nil {
		t.Fatal(err)
	}
	checkPieces(t, lines, 2000)
}

func TestReadersComeAndGo(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.answer(babble(300))
	ctx, cancel := context.WithCancel(t.Context())
	for range 20 {
		go func() {
			for ctx.Err() == nil {
				f, err := w.Feed(ctx, s.ID, -1)
				if err != nil {
					return
				}
				short, stop := context.WithTimeout(ctx, time.Duration(rand.IntN(5))*time.Millisecond)
				_, _ = f.Next(short)
				stop()
			}
		}()
	}
	w.ask(t, s.ID, "one")
	cancel()
	w.awaitIdle(t, s.ID)
	checkPieces(t, w.logged(t, s.ID), 300)
}
