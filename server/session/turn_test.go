package session_test

import (
	"strings"
	"testing"
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
