package session_test

import (
	"fmt"
	"strings"
	"testing"

	"lap/db"
	"lap/server/session"
)

func TestThreadWhileItIsWritten(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.say(t, s.ID, "one")
	step, more := make(chan *harnessTurn), make(chan struct{})
	w.runtime.answer(func(h *harnessTurn) (int, string) {
		h.begin()
		for _, word := range []string{"a", "b", "c"} {
			h.write(word)
			step <- h
			<-more
		}
		return h.finish()
	})
	w.begin(t, s.ID, "two")
	before := "user: one\nassistant: echo: one\nuser: two\nassistant: "
	for i := range 3 {
		receive(t, step)
		w.awaitSaid(t, s.ID, before+"abc"[:i+1])
		w.runtime.cut(*s.ContainerID) // what was read and not stored is read again
		w.awaitSaid(t, s.ID, before+"abc"[:i+1])
		more <- struct{}{}
	}
	w.awaitTurns(t, s.ID, "complete one\ncomplete two")
	w.awaitSaid(t, s.ID, before+"abc")
}

func TestThreadOfAStoppedSession(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.say(t, s.ID, "one")
	entered, _, hold := holding()
	w.runtime.answer(hold)
	reply := w.send(t.Context(), s.ID, "two")
	receive(t, entered)
	want := "user: one\nassistant: echo: one\nuser: two\nassistant: begun, "
	w.awaitSaid(t, s.ID, want)
	w.awaitBegun(t, s.ID)
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	receive(t, reply)
	if got := w.said(t, s.ID); got != want {
		t.Errorf("thread:\n%s\nwant:\n%s", got, want)
	}
	w.restart(t)
	if got := w.said(t, s.ID); got != want {
		t.Errorf("thread in the next process:\n%s\nwant:\n%s", got, want)
	}
}

func TestMessagesThatAreChangedAndRemoved(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.answer(func(h *harnessTurn) (int, string) {
		h.begin()
		gone := h.message("assistant", "to be removed")
		h.event("message.part.updated", `"part":{"id":"p2","messageID":"`+h.answer.id+`","type":"text","text":"second part"}`)
		h.event("message.part.removed", `"messageID":"`+h.answer.id+`","partID":"p2"`)
		h.event("message.removed", `"messageID":"`+gone.id+`"`)
		h.event("message.updated", `"info":{"id":"`+h.answer.id+`","role":"assistant","cost":1}`)
		h.write("text")
		return h.finish()
	})
	a := receive(t, w.send(t.Context(), s.ID, "x"))
	if a.err != nil {
		t.Fatal(a.err)
	}
	w.awaitSaid(t, s.ID, "user: x\nassistant: text")
}

func TestWhatHappensBetweenTurnsIsStored(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	var last *harnessTurn
	w.runtime.answer(func(h *harnessTurn) (int, string) { last = h; return echo(h) })
	w.say(t, s.ID, "x")
	last.message("assistant", "by the way")
	w.awaitSaid(t, s.ID, "user: x\nassistant: echo: x\nassistant: by the way")
	for range 3 { // it may have been read and not stored; then it is read again
		w.restart(t)
		w.awaitSaid(t, s.ID, "user: x\nassistant: echo: x\nassistant: by the way")
	}
	w.stop()
	if got := w.said(t, s.ID); got != "user: x\nassistant: echo: x\nassistant: by the way" {
		t.Errorf("thread:\n%s", got)
	}
}

func TestImagesInEventsAreNotStored(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.answer(func(h *harnessTurn) (int, string) {
		h.begin()
		h.event("message.part.updated", `"part":{"id":"p2","messageID":"`+h.answer.id+`","type":"file","mime":"image/png","url":"data:image/png;base64,QUJDREVGR0hJ"}`)
		return h.finish()
	})
	a := receive(t, w.send(t.Context(), s.ID, "x"))
	if a.err != nil {
		t.Fatal(a.err)
	}
	w.awaitTurns(t, s.ID, "complete x")
	messages, err := w.Messages(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if stored := fmt.Sprintf("%s %s", messages, w.logged(t, s.ID)); strings.Contains(stored, "QUJD") || !strings.Contains(stored, `"bytes":9`) {
		t.Errorf("stored: %s", stored)
	}
}

func TestMessagesOfAnUnknownSession(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.Messages(t.Context(), "no-such"); err == nil {
		t.Error("no error")
	}
}

func TestOutputIsKept(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.do(*s.ContainerID, func(b *fakeBox) {
		b.guest.put(`"log":"one"`)
		b.guest.put(`"log":"two\n"`)
	})
	output := func(want string) {
		t.Helper()
		eventually(t, func() error {
			if got, err := w.Output(t.Context(), s.ID); err != nil || got != want {
				return fmt.Errorf("output %q, %w, want %q", got, err, want)
			}
			return nil
		})
	}
	output("one\ntwo\n")
	w.say(t, s.ID, "x") // so that the guest may forget it
	w.restart(t)
	output("one\ntwo\n")
	w.runtime.do(*s.ContainerID, func(b *fakeBox) { b.guest.put(`"log":"three"`) })
	output("one\ntwo\nthree\n")
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	output("one\ntwo\nthree\n")
	if err := session.Rest(w.Engine, t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := w.Output(t.Context(), "no-such"); err == nil {
		t.Error("no error")
	}
	if s := w.session(t, s.ID); s.Status != db.StatusDead {
		t.Errorf("session = %+v", s)
	}
}
