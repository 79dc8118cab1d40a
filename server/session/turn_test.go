package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lap/db"
	"lap/server/session"
)

func TestTurn(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	a := receive(t, w.send(t.Context(), s.ID, "hello"))
	if a.err != nil || !strings.Contains(string(a.reply), `"text":"echo: hello"`) {
		t.Fatalf("reply %s, error %v", a.reply, a.err)
	}
	after := w.session(t, s.ID)
	if string(after.Response) != string(a.reply) || deref(after.TitlePreview) != "hello" {
		t.Errorf("session after the turn = %+v", after)
	}
	w.awaitSaid(t, s.ID, "user: hello\nassistant: echo: hello")
}

func TestTurnIsStoredBeforeTheHarnessSeesIt(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	stored := make(chan string, 1)
	w.runtime.answer(func(h *harnessTurn) (int, string) {
		stored <- w.turns(t, s.ID)
		return echo(h)
	})
	reply := w.send(t.Context(), s.ID, "hello")
	if got := receive(t, stored); got != "running hello" {
		t.Errorf("when the harness sees it, the turn is stored as %q", got)
	}
	a := receive(t, reply)
	if turn := w.turn(t, s.ID, 0); turn.Status != db.TurnComplete || string(turn.Reply) != string(a.reply) {
		t.Errorf("when the client has its reply, the turn is %+v", turn)
	}
}

func TestTurnsRunInOrderOneAtATime(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	const n = 6
	var replies []<-chan answer
	for i := range n {
		p := w.begin(t, s.ID, fmt.Sprint(i)) // so that they come in this order
		c := make(chan answer, 1)
		go func() {
			reply, err := p.Reply(t.Context())
			c <- answer{reply, err}
		}()
		replies = append(replies, c)
	}
	for i := range n {
		if h := receive(t, entered); h.text != fmt.Sprint(i) {
			t.Errorf("turn %d is message %s", i, h.text)
		}
		if len(entered) > 0 {
			t.Error("two turns run at once")
		}
		leave <- struct{}{}
		if a := receive(t, replies[i]); a.err != nil || !strings.Contains(string(a.reply), fmt.Sprintf("done: %d", i)) {
			t.Errorf("turn %d was answered with %s, %v", i, a.reply, a.err)
		}
	}
}

func TestClientThatLeavesDoesNotEndItsTurn(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	ctx, cancel := context.WithCancel(t.Context())
	first := w.send(ctx, s.ID, "slow")
	receive(t, entered)
	queued := w.begin(t, s.ID, "queued")
	_ = queued // nobody waits for this one
	cancel()
	if a := receive(t, first); !errors.Is(a.err, context.Canceled) {
		t.Errorf("the client got %v", a.err)
	}
	close(leave)
	w.awaitTurns(t, s.ID, "complete slow\ncomplete queued")
	if reply := w.turn(t, s.ID, 0).Reply; !strings.Contains(string(reply), "done: slow") {
		t.Errorf("the reply is lost: %s", reply)
	}
}

func TestStartedTellsWhereTheEventsBegin(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.say(t, s.ID, "one")
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	first, second := w.begin(t, s.ID, "two"), w.begin(t, s.ID, "three")
	receive(t, entered)
	at, err := first.Started(t.Context())
	if err != nil || at == 0 {
		t.Errorf("started at %d, %v", at, err)
	}
	waiting, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := second.Started(waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("a turn in the queue has started: %v", err)
	}
	close(leave)
	later, err := second.Started(t.Context())
	if err != nil || later <= at {
		t.Errorf("the next one started at %d, %v; the first at %d", later, err, at)
	}
}

func TestHarnessThatRefuses(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.answer(answering(500, `{"name":"UnknownError"}`))
	if a := receive(t, w.send(t.Context(), s.ID, "x")); !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "500") {
		t.Errorf("error = %v", a.err)
	}
	w.runtime.answer(answering(0, "it has crashed"))
	if a := receive(t, w.send(t.Context(), s.ID, "y")); !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "it has crashed") {
		t.Errorf("error = %v", a.err)
	}
	if after := w.session(t, s.ID); after.Status != db.StatusReady {
		t.Errorf("session = %+v", after)
	}
	w.awaitTurns(t, s.ID, "failed x\nfailed y")
}

func TestReplyIsAlwaysWithParts(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	for answer, want := range map[string]string{
		`{"info":{"id":"m"}}`:        `{"info":{"id":"m"},"parts":[]}`,
		`{"parts":null,"x":1}`:       `{"parts":[],"x":1}`,
		`{"parts":[{"type":"odd"}]}`: `{"parts":[{"type":"odd"}]}`,
	} {
		w.runtime.answer(answering(200, answer))
		if a := receive(t, w.send(t.Context(), s.ID, "x")); a.err != nil || string(a.reply) != want {
			t.Errorf("%s became %s, error %v", answer, a.reply, a.err)
		}
	}
	for _, answer := range []string{``, `[]`, `nonsense`, `null`} {
		w.runtime.answer(answering(200, answer))
		if a := receive(t, w.send(t.Context(), s.ID, "x")); !errors.Is(a.err, session.ErrHarness) {
			t.Errorf("%q became %s, error %v", answer, a.reply, a.err)
		}
	}
}

func TestAnswerThatWasTooLarge(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.answer(func(h *harnessTurn) (int, string) {
		h.guest.add(fmt.Sprintf(`"turn":{"id":%q,"status":200,"error":"the harness's answer is larger than 64 MiB"}`, h.id))
		return 0, "told already"
	})
	if a := receive(t, w.send(t.Context(), s.ID, "x")); !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "larger than 64 MiB") {
		t.Errorf("error = %v", a.err)
	}
}

func TestMessageToSessionThatIsNotReady(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.Message(t.Context(), "no-such", text("x")); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("unknown session: %v", err)
	}
	_, release := w.runtime.hold("before create")
	creating := w.create(t, session.NewSession{})
	if _, err := w.Message(t.Context(), creating.ID, text("x")); !errors.Is(err, session.ErrNotReady) {
		t.Errorf("creating session: %v", err)
	}
	release()
	s := w.await(t, creating.ID, db.StatusReady)
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Message(t.Context(), s.ID, text("x")); !errors.Is(err, session.ErrNotReady) {
		t.Errorf("stopped session: %v", err)
	}
	if n := session.Lives(w.Engine); n != 0 {
		t.Errorf("%d sessions are held", n)
	}
}

func TestMessageToTerminal(t *testing.T) {
	w := newWorld(t, nil)
	agent, err := w.store.CreateAgent(t.Context(), db.Agent{Model: "m", HarnessID: "codex", Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := w.Create(t.Context(), agent, session.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Message(t.Context(), s.ID, text("x")); !errors.Is(err, session.ErrTerminal) {
		t.Errorf("error = %v", err)
	}
	w.await(t, s.ID, db.StatusFailed)
}

func TestImageBytesAreSentButNotStored(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	image := json.RawMessage(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAAAAAA"}}`)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	parts := append([]json.RawMessage{image}, text("look")...)
	for range 2 { // one runs, one waits
		if _, err := w.Begin(t.Context(), s.ID, session.Turn{Parts: parts}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if h := receive(t, entered); !strings.Contains(string(h.body["parts"]), `"data":"AAAAAAAA"`) {
			t.Errorf("the harness was given %s", h.body["parts"])
		}
		leave <- struct{}{}
	}
	w.awaitTurns(t, s.ID, "complete look\ncomplete look")
	stored := string(w.turn(t, s.ID, 0).Parts)
	if strings.Contains(stored, "AAAA") || !strings.Contains(stored, `"bytes":6`) || !strings.Contains(stored, "image/png") {
		t.Errorf("stored turn: %s", stored)
	}
}

func TestFurtherMembersOfARequest(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	seen := make(chan *harnessTurn, 2)
	w.runtime.answer(func(h *harnessTurn) (int, string) { seen <- h; return echo(h) })
	p, err := w.Begin(t.Context(), s.ID, session.Turn{
		Parts: text("x"), Request: json.RawMessage(`{"agent":"build","model":{"providerID":"p","modelID":"other"}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if h := receive(t, seen); h.model != "other" || string(h.body["agent"]) != `"build"` {
		t.Errorf("the harness was given %s", h.body)
	}
	if _, err := p.Reply(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestModelStaysThatOfTheSession(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	_, err := w.store.UpdateAgent(t.Context(), w.agent.ID, func(a *db.Agent) error { a.Model = "other"; return nil })
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan *harnessTurn, 1)
	w.runtime.answer(func(h *harnessTurn) (int, string) { seen <- h; return echo(h) })
	w.say(t, s.ID, "x")
	if h := receive(t, seen); h.model != "vendor/model" {
		t.Errorf("the turn went to %q", h.model)
	}
}

func TestPreambleComesWithTheFirstTurnThatWorks(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.answer(answering(400, `{}`))
	if a := receive(t, w.send(t.Context(), s.ID, "bad")); a.err == nil {
		t.Fatal("no error")
	}
	w.runtime.answer(echo)
	for range 2 {
		w.say(t, s.ID, "good")
	}
	var parts []int
	for _, seen := range w.runtime.sightings(s.ID) {
		parts = append(parts, len(seen.texts))
	}
	if got := fmt.Sprint(parts); got != "[2 2 1]" {
		t.Errorf("parts of each turn: %s", got)
	}
}

func TestTurnThatTakesTooLongIsAborted(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.TurnTimeout = 300 * time.Millisecond })
	s := w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	first, queued := w.send(t.Context(), s.ID, "slow"), (<-chan answer)(nil)
	h := receive(t, entered)
	queued = w.send(t.Context(), s.ID, "queued")
	for _, c := range []<-chan answer{first, queued} {
		if a := receive(t, c); !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "no reply within 300ms") {
			t.Errorf("error = %v", a.err)
		}
	}
	receive(t, waitFor(h.aborted))
	close(leave)
	w.awaitTurns(t, s.ID, "failed slow\nfailed queued")
	w.runtime.answer(echo)
	w.say(t, s.ID, "next")
}

// waitFor turns a channel that is closed into one that has a value.
func waitFor(closed <-chan struct{}) <-chan bool {
	c := make(chan bool, 1)
	go func() { <-closed; c <- true }()
	return c
}

func TestTimeOfATurnRunsWhileItWaitsBehindAnother(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.TurnTimeout, c.StartTimeout = 200*time.Millisecond, patience })
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	s := w.await(t, w.create(t, session.NewSession{InitialParts: text("initial")}).ID, db.StatusReady) // has time to start, too
	receive(t, entered)
	if a := receive(t, w.send(t.Context(), s.ID, "queued")); !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "no reply within") {
		t.Errorf("error = %v", a.err)
	}
	if got := w.turns(t, s.ID); got != "running initial\nfailed queued" {
		t.Errorf("turns:\n%s", got)
	}
	close(leave)
	w.awaitTurns(t, s.ID, "complete initial\nfailed queued")
}

func TestTimeOfATurnRunsWhileItsSandboxComesBack(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.TurnTimeout = 200 * time.Millisecond })
	s := w.ready(t)
	_, release := w.runtime.hold("before inspect")
	defer release()
	w.runtime.vanish(*s.ContainerID)
	if a := receive(t, w.send(t.Context(), s.ID, "x")); !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "no reply within") {
		t.Errorf("error = %v", a.err)
	}
}

func TestReplyThatComesTooLateDoesNotCount(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.TurnTimeout = 200 * time.Millisecond })
	s := w.ready(t)
	late := make(chan struct{})
	w.runtime.answer(func(h *harnessTurn) (int, string) { <-late; return echo(h) }) // it does not listen to aborts
	if a := receive(t, w.send(t.Context(), s.ID, "slow")); !errors.Is(a.err, session.ErrHarness) {
		t.Errorf("error = %v", a.err)
	}
	close(late)
	w.until(t, s.ID, func(s db.Session) bool { return s.Primed }) // the late result has come
	w.runtime.answer(echo)
	w.say(t, s.ID, "next")
	if got := w.turns(t, s.ID); got != "failed slow\ncomplete next" {
		t.Errorf("turns:\n%s", got)
	}
	if seen := w.runtime.sightings(s.ID); len(seen[1].texts) != 1 {
		t.Errorf("what it knows was told again: %q", seen[1].texts)
	}
}
