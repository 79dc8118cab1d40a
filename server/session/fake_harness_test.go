package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"lap/sandbox"
)

// A script is what a harness does for a turn. It returns the answer; status 0: none.
type script func(t *harnessTurn) (status int, body string)

// A harnessTurn is a turn as a harness has it.
type harnessTurn struct {
	guest   *fakeGuest
	ctx     context.Context // ends with the guest process
	id      string
	session string   // of the harness
	texts   []string // of all parts
	text    string   // of the last one
	model   string
	body    map[string]json.RawMessage
	aborted chan struct{} // closed when it is aborted
	answer  *fakeMessage  // the assistant's, when it has begun
}

// A fakeMessage is an entry of a harness's thread. It is guarded by runtime.mu.
type fakeMessage struct {
	id, session, role string
	parts             []*fakePart
}

type fakePart struct{ id, text string }

func (m *fakeMessage) info() string {
	return fmt.Sprintf(`{"id":%q,"sessionID":%q,"role":%q}`, m.id, m.session, m.role)
}

func (m *fakeMessage) part(p *fakePart) string {
	return fmt.Sprintf(`{"id":%q,"messageID":%q,"sessionID":%q,"type":"text","text":%s}`, p.id, m.id, m.session, quote(p.text))
}

func (m *fakeMessage) json() string {
	var parts []string
	for _, p := range m.parts {
		parts = append(parts, m.part(p))
	}
	return fmt.Sprintf(`{"info":%s,"parts":[%s]}`, m.info(), strings.Join(parts, ","))
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// start begins a turn. runtime.mu is held.
func (g *fakeGuest) start(in sandbox.Turn) {
	t := &harnessTurn{guest: g, ctx: g.ctx, id: in.ID, aborted: make(chan struct{})}
	t.session, _, _ = strings.Cut(strings.TrimPrefix(in.Path, "/session/"), "/")
	var body struct {
		Model struct {
			ModelID string `json:"modelID"`
		} `json:"model"`
		Parts []struct {
			Text string `json:"text"`
		} `json:"parts"`
	}
	if err := json.Unmarshal(in.Body, &body); err != nil || json.Unmarshal(in.Body, &t.body) != nil || len(body.Parts) == 0 {
		g.runtime.tb.Errorf("the harness was given %s", in.Body)
		return
	}
	if g.threads[t.session] == nil {
		g.runtime.tb.Errorf("the harness was given a turn for session %s, which it does not know", t.session)
		return
	}
	t.model = body.Model.ModelID
	for _, p := range body.Parts {
		t.texts = append(t.texts, p.Text)
	}
	t.text = t.texts[len(t.texts)-1]
	g.runtime.seen = append(g.runtime.seen, sighting{session: g.boot.Session, turn: t.id, box: g.box.ID, texts: t.texts})
	g.running[t.session] = t
	run := g.runtime.script
	g.runtime.work.Go(func() { t.run(run) })
}

func (t *harnessTurn) run(s script) {
	g := t.guest
	if g.wait(t.ctx) != nil {
		return
	}
	status, body := s(t)
	if g.wait(t.ctx) != nil {
		return
	}
	result := sandbox.TurnResult{ID: t.id, Status: status, Body: json.RawMessage(body)}
	if status == 0 {
		result.Body, result.Error = nil, body
	} else if !json.Valid([]byte(body)) {
		result.Body = json.RawMessage(quote(body))
	}
	line, err := json.Marshal(result)
	if err != nil {
		g.runtime.tb.Error(err)
	}
	g.runtime.set(func() {
		if g.running[t.session] == t {
			delete(g.running, t.session)
		}
		g.put(`"turn":` + string(line))
		g.put(fmt.Sprintf(`"event":{"type":"session.idle","properties":{"sessionID":%q}}`, t.session))
	})
}

// abort ends the turn, if its script looks. runtime.mu is held.
func (t *harnessTurn) abort() {
	select {
	case <-t.aborted:
	default:
		close(t.aborted)
	}
}

// event emits an event of the harness's session, given its type and its further
// properties.
func (t *harnessTurn) event(kind, properties string) {
	t.guest.add(t.frame(kind, properties))
}

func (t *harnessTurn) frame(kind, properties string) string {
	return fmt.Sprintf(`"event":{"type":%q,"properties":{"sessionID":%q,%s}}`, kind, t.session, properties)
}

// message adds a message with one part to the thread.
func (t *harnessTurn) message(role, text string) *fakeMessage {
	r := t.guest.runtime
	if t.guest.wait(t.ctx) != nil {
		return &fakeMessage{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &fakeMessage{id: r.id("msg"), session: t.session, role: role, parts: []*fakePart{{id: r.id("prt"), text: text}}}
	t.guest.threads[t.session] = append(t.guest.threads[t.session], m)
	t.guest.put(t.frame("message.updated", `"info":`+m.info()))
	t.guest.put(t.frame("message.part.updated", `"part":`+m.part(m.parts[0])))
	return m
}

// begin emits the user's message, and the assistant's, with an empty text.
func (t *harnessTurn) begin() {
	t.message("user", t.text)
	t.answer = t.message("assistant", "")
}

// write adds to the text of the assistant's message.
func (t *harnessTurn) write(more string) {
	if t.guest.wait(t.ctx) != nil {
		return
	}
	t.guest.runtime.set(func() {
		p := t.answer.parts[0]
		p.text += more
		t.guest.put(t.frame("message.part.delta", fmt.Sprintf(`"messageID":%q,"partID":%q,"field":"text","delta":%s`, t.answer.id, p.id, quote(more))))
	})
}

// finish emits the assistant's message as it is now, and returns it.
func (t *harnessTurn) finish() (status int, body string) {
	if t.guest.wait(t.ctx) != nil {
		return 0, "dead"
	}
	t.guest.runtime.set(func() {
		t.guest.put(t.frame("message.part.updated", `"part":`+t.answer.part(t.answer.parts[0])))
		body = t.answer.json()
	})
	return 200, body
}

// echo answers with what was said, in three pieces.
func echo(t *harnessTurn) (status int, body string) {
	t.begin()
	for _, piece := range []string{"echo", ": ", t.text} {
		t.write(piece)
	}
	return t.finish()
}

// answering is a harness with a fixed answer.
func answering(status int, body string) script {
	return func(*harnessTurn) (int, string) { return status, body }
}

// holding is a harness that sends each turn to the channel when it has it, and answers
// like echo when it is let go, or is aborted.
func holding() (entered chan *harnessTurn, leave chan struct{}, s script) {
	entered, leave = make(chan *harnessTurn, 100), make(chan struct{})
	return entered, leave, func(t *harnessTurn) (int, string) {
		t.begin()
		t.write("begun, ")
		entered <- t
		select {
		case <-leave:
		case <-t.aborted:
			t.write("aborted")
			return t.finish()
		case <-t.ctx.Done():
			return 0, "dead"
		}
		t.write("done: " + t.text)
		return t.finish()
	}
}
