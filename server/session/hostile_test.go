package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lap/db"
	"lap/server/session"
)

// What comes out of a sandbox may come from the agent.

// tell makes the guest of a session tell entries of its harness's event stream.
func (w *world) tell(s db.Session, events ...string) {
	w.runtime.do(*s.ContainerID, func(b *fakeBox) {
		for _, ev := range events {
			b.guest.put(`"event":` + strings.ReplaceAll(ev, "SES", *s.HarnessSessionID))
		}
	})
}

func TestEventsThatAreOddDoNotStopTheJournal(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	odd := []string{
		`1`, `null`, `"text"`, `[]`, `{}`, `{"type":1}`, `{"type":"x"}`, `{"type":"x","properties":[]}`,
		`{"type":"x","properties":{"sessionID":"another"}}`,
		`{"type":"message.updated","properties":{"sessionID":"SES"}}`,
		`{"type":"message.updated","properties":{"sessionID":"SES","info":5}}`,
		`{"type":"message.updated","properties":{"sessionID":"SES","info":"{\"id\":\"m\"}"}}`,
		`{"type":"message.updated","properties":{"sessionID":"SES","info":{"id":{"a":1}}}}`,
		`{"type":"message.part.updated","properties":{"sessionID":"SES"}}`,
		`{"type":"message.part.updated","properties":{"sessionID":"SES","part":[{"messageID":"m","id":"p"}]}}`,
		`{"type":"message.part.updated","properties":{"sessionID":"SES","part":{"messageID":"m","id":"p","type":"text","text":5}}}`,
		`{"type":"message.part.updated","Properties":{"sessionID":"SES","part":{"messageID":"m","id":"q","type":"image","source":{"data":"AAAA"}}}}`,
		`{"type":"message.part.updated","properties":{"sessionID":"SES","part":{"messageID":"m","type":"file","url":"data:"}}}`,
		`{"type":"message.part.delta","properties":{"sessionID":"SES","messageID":"m","partID":"p","field":"text","delta":"x"}}`,
		`{"type":"message.part.delta","properties":{"sessionID":"SES","messageID":"nobody's","partID":"p","field":"text","delta":"x"}}`,
		`{"type":"message.part.delta","properties":{"sessionID":"SES","delta":7}}`,
		`{"type":"message.part.removed","properties":{"sessionID":"SES","messageID":"m","partID":"none"}}`,
		`{"type":"message.removed","properties":{"sessionID":"SES"}}`,
		"{\"type\":\"line\",\r\"properties\":{\r\"sessionID\":\"SES\"}}",
		"{\"type\":\"not utf-8\",\"properties\":{\"sessionID\":\"SES\",\"x\":\"\xff\xfe\"}}",
	}
	w.tell(s, odd...)
	w.runtime.do(*s.ContainerID, func(b *fakeBox) {
		for _, line := range []string{`"turn":{"id":"no number","status":200,"body":{}}`, `"turn":{"id":"99","status":200}`, `"turn":{}`, `"log":""`, `"what":1`} {
			b.guest.put(line)
		}
	})
	w.say(t, s.ID, "x")
	w.awaitIdle(t, s.ID)
	w.runtime.cut(*s.ContainerID)
	w.say(t, s.ID, "y")
	for _, line := range w.logged(t, s.ID) {
		if strings.ContainsAny(line, "\r\n") {
			t.Errorf("an event has a line end: %q", line)
		}
	}
	if _, err := w.Messages(t.Context(), s.ID); err != nil {
		t.Error(err)
	}
}

func TestResultOfATurnThatIsNotRunning(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.say(t, s.ID, "x")
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	first := w.send(t.Context(), s.ID, "first")
	receive(t, entered)
	w.begin(t, s.ID, "second")
	w.runtime.do(*s.ContainerID, func(b *fakeBox) {
		b.guest.put(`"turn":{"id":"0","status":200,"body":{"parts":["forged"]}}`) // over
		b.guest.put(`"turn":{"id":"2","status":200,"body":{"parts":["forged"]}}`) // not sent
	})
	close(leave)
	if a := receive(t, first); a.err != nil {
		t.Error(a.err)
	}
	w.awaitTurns(t, s.ID, "complete x\ncomplete first\ncomplete second")
	if forged := w.query(t, `SELECT seq FROM turns WHERE reply LIKE '%forged%'`); len(forged) > 0 {
		t.Errorf("forged replies: %v", forged)
	}
}

func TestManyMessagesThatNeverEnd(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	w.begin(t, s.ID, "x")
	receive(t, entered)
	const n = 3 * session.HeavyDrafts
	for i := range n {
		w.tell(s, fmt.Sprintf(`{"type":"message.updated","properties":{"sessionID":"SES","info":{"id":"flood-%d","role":"assistant"}}}`, i))
	}
	eventually(t, func() error { // although the turn runs
		if stored := atoi(t, w.query(t, `SELECT count(*) FROM messages`)[0]); stored < n-session.HeavyDrafts {
			return fmt.Errorf("%d messages are stored", stored)
		}
		return nil
	})
	close(leave)
	w.awaitTurns(t, s.ID, "complete x")
	messages, err := w.Messages(t.Context(), s.ID)
	if err != nil || len(messages) != n+2 {
		t.Errorf("%d messages, %v, want %d", len(messages), err, n+2)
	}
}

func TestLineThatDoesNotEnd(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	var sent atomic.Int64 // in the first answer
	again := make(chan int64, 100)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	asked := 0
	w.runtime.set(func() {
		w.runtime.journal = func(rw http.ResponseWriter, _ *http.Request, _ *fakeGuest) bool {
			w.runtime.set(func() { asked++ })
			if asked > 1 {
				again <- sent.Load()
				return true
			}
			block := []byte(strings.Repeat("x", 1<<20))
			for {
				n, err := rw.Write(block)
				sent.Add(int64(n))
				if err != nil {
					return true
				}
			}
		}
	})
	w.runtime.cut(*s.ContainerID)
	if n := receive(t, again); n > session.MaxLine+(16<<20) {
		t.Errorf("%d MiB of one line were read", n>>20)
	}
	w.runtime.set(func() { w.runtime.journal = nil })
	w.runtime.cut(*s.ContainerID)
	w.say(t, s.ID, "x")
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("%d MiB are held", grown>>20)
	}
}

func TestJournalThatEndsAtOnceIsNotAskedForAllTheTime(t *testing.T) {
	for name, text := range map[string]string{"garbage": "nonsense\n", "nothing": "", "losses": `{"n":1,"lost":1}` + "\n"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.ready(t)
			asked := 0
			w.runtime.set(func() {
				w.runtime.journal = func(rw http.ResponseWriter, _ *http.Request, _ *fakeGuest) bool {
					w.runtime.set(func() { asked++ })
					_, _ = rw.Write([]byte(text))
					return true
				}
			})
			w.runtime.cut(*s.ContainerID)
			time.Sleep(500 * time.Millisecond) // the one sleep: nothing is to happen
			var n int
			w.runtime.set(func() { n = asked })
			if n > 8 {
				t.Errorf("it was asked for %d times in half a second", n)
			}
		})
	}
}

func TestGuestThatTellsOfLossesAllTheTime(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	threads := 0
	w.runtime.on("before get /harness/session/{id}/message", func(context.Context, string) error { w.runtime.set(func() { threads++ }); return nil })
	w.runtime.set(func() {
		w.runtime.journal = func(rw http.ResponseWriter, r *http.Request, _ *fakeGuest) bool {
			for n := 1; r.Context().Err() == nil; n++ {
				if _, err := fmt.Fprintf(rw, "{\"n\":%d,\"lost\":1}\n", n); err != nil {
					return true
				}
			}
			return true
		}
	})
	w.runtime.cut(*s.ContainerID)
	time.Sleep(500 * time.Millisecond)
	var n int
	w.runtime.set(func() { n, w.runtime.journal = threads, nil })
	if n > 2 {
		t.Errorf("the thread was asked for %d times in half a second", n)
	}
}

func TestPlatformKnowsASandboxByItsPipe(t *testing.T) {
	w := newWorld(t, func(c *session.Config) {
		c.Platform = func(agent, session string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(w, "%s %s", agent, session) })
		}
	})
	s := w.ready(t)
	var got string
	err := errors.New("no guest")
	w.runtime.do(*s.ContainerID, func(b *fakeBox) { got, err = b.guest.platform(w.agent.ID) })
	if err != nil || got != w.agent.ID+" "+s.ID {
		t.Errorf("the platform answered %q, %v", got, err)
	}
}
