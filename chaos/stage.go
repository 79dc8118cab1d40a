package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A stage is an installation with an agent, and a note of all that its clients have asked
// for and were told.
type stage struct {
	lap    *lap
	agent  string
	first  answer // to what the operation is about
	again  answer // to the same, asked once more after the crash
	wrong  []string
	behind sync.WaitGroup // clients that still wait for an answer

	mu      sync.Mutex // guards what follows
	parties []*party
	said    []*said
}

// A party is a session that a client knows of.
type party struct {
	id      string
	stopped bool // its user has asked for its end
	ended   bool // and was told that it has ended
	reader  *reader
}

// A said is a message that a client has sent. Carried out, it adds its mark to a file in
// the sandbox.
type said struct {
	party        *party
	mark, text   string
	key          string
	first, again answer
	stopped      bool // its user has asked to abort it: its answer says so
	aborted      bool // and was told that it is aborted
}

// told reports whether the client was told that the message was carried out.
func (m *said) told() bool { return m.first.ok() || m.again.ok() }

// image is that of the sandboxes.
const image = "debian:bookworm-slim"

// newAgent makes the stage's agent.
func (s *stage) newAgent(ctx context.Context) error {
	var a struct{ ID string }
	err := s.lap.call(ctx, http.MethodPost, managed+"/agents", "", map[string]string{
		"name": "chaos", "model": "scripted/echo", "harness_id": "lap", "harness_image": image,
	}).into(&a)
	s.agent = a.ID
	return err
}

// create asks for a session. It is a party from its first answer on.
func (s *stage) create(ctx context.Context, key string, in any) (*party, answer) {
	got := s.lap.call(ctx, http.MethodPost, agentPath(s.agent)+"/session", key, in)
	var made struct{ ID string }
	if got.into(&made) != nil {
		return nil, got
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parties {
		if p.id == made.ID {
			return p, got
		}
	}
	p := &party{id: made.ID, reader: s.lap.newReader(context.WithoutCancel(ctx), made.ID)}
	s.parties = append(s.parties, p)
	return p, got
}

// ready makes a session that is ready and has a message behind it.
func (s *stage) ready(ctx context.Context) (*party, error) {
	p, got := s.create(ctx, "", nil)
	if p == nil {
		return nil, fmt.Errorf("create: %s %w", got, got.err)
	}
	if status := s.awaitStatus(ctx, p, settleLimit, "ready", "failed", "dead"); status != "ready" {
		return nil, fmt.Errorf("the session is %s", status)
	}
	if m := s.say(ctx, p, ""); !m.first.ok() {
		return nil, fmt.Errorf("first message: %s %s", m.first, m.first.body)
	}
	return p, nil
}

// status is what the server says of a session, "" when it does not answer.
func (s *stage) status(ctx context.Context, p *party) string {
	var now struct{ Status string }
	if s.lap.call(ctx, http.MethodGet, sessionPath(p.id), "", nil).into(&now) != nil {
		return ""
	}
	return now.Status
}

// awaitStatus waits until a session has one of the given states, or the server has ended.
func (s *stage) awaitStatus(ctx context.Context, p *party, limit time.Duration, states ...string) (status string) {
	await(ctx, limit, func() bool {
		status = s.status(ctx, p)
		return slices.Contains(states, status) || s.lap.dead()
	})
	return status
}

// await waits until ok holds and reports whether it did.
func await(ctx context.Context, limit time.Duration, ok func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}

// marked notes a new message. before is what the sandbox does before it adds the mark.
func (s *stage) marked(p *party, key, before string) *said {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &said{party: p, mark: fmt.Sprintf("mark-%d-", len(s.said)), key: key, again: answer{err: errUnasked}}
	m.text = "RUN: " + before + "echo " + m.mark + " >> /marks"
	s.said = append(s.said, m)
	return m
}

// say sends a message and waits for the answer.
func (s *stage) say(ctx context.Context, p *party, key string) *said {
	m := s.marked(p, key, "")
	m.first = s.send(ctx, m)
	return m
}

func (s *stage) send(ctx context.Context, m *said) answer {
	return s.lap.call(ctx, http.MethodPost, sessionPath(m.party.id)+"/message", m.key, map[string]string{"text": m.text})
}

// stream sends a message and reads its events. It went well when they came to an end.
func (s *stage) stream(ctx context.Context, p *party) answer {
	m := s.marked(p, "", "")
	m.first = s.lap.call(ctx, http.MethodPost, sessionPath(p.id)+"/message_stream", "", map[string]string{"text": m.text})
	if m.first.ok() && !strings.Contains(string(m.first.body), `data: {"type":"done"}`) {
		m.first = answer{body: m.first.body, err: errors.New("the stream broke off")}
	}
	return m.first
}

// end asks for the end of a session.
func (s *stage) end(ctx context.Context, p *party) answer {
	p.stopped = true
	got := s.lap.call(ctx, http.MethodDelete, sessionPath(p.id), "", nil)
	p.ended = p.ended || got.ok()
	return got
}

// fault notes that something that lap promises did not hold.
func (s *stage) fault(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// close lets go of the stage's clients.
func (s *stage) close() {
	for _, p := range s.parties {
		p.reader.close()
	}
	s.behind.Wait()
}
