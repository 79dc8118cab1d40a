package agent

import (
	"context"
	"slices"
	"sync"

	"lap/sandbox/agent/tool"
)

// session is a conversation with its thread, its queue of turns, and what only its
// running turn may touch.
type session struct {
	agent  *Agent
	id     string
	prompt string // of the caller, for the model

	mu     sync.Mutex // guards the rest of this block
	info   Session
	status Status
	thread []Message
	queue  []*turn // the first one runs
	ended  bool

	history history // what the model knows
	tools   *tool.Box
}

// open makes a session.
func (a *Agent) open(title, prompt string) *session {
	s := &session{agent: a, id: newID(sessionID), prompt: prompt, status: Status{Type: "idle"}, tools: a.tools.Box()}
	s.info = Session{ID: s.id, ProjectID: "global", Directory: a.cfg.Dir, Title: title, Version: a.version}
	s.info.Time.Created = now()
	s.info.Time.Updated = s.info.Time.Created
	s.history.window = defaultWindow
	a.mu.Lock()
	a.sessions[s.id] = s
	a.mu.Unlock()
	s.tell("session.created", Properties{Info: s.info})
	return s
}

// tell publishes an event of this session.
func (s *session) tell(kind string, p Properties) {
	p.SessionID = s.id
	s.agent.bus.publish(kind, p)
}

func (s *session) snapshot() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

func (s *session) state() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// messages returns a copy of the thread that the caller may keep.
func (s *session) messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Message, len(s.thread))
	for i, m := range s.thread {
		list[i] = m.clone()
	}
	return list
}

// last returns a copy of the last message.
func (s *session) last() Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.thread[len(s.thread)-1].clone()
}

func (m Message) clone() Message {
	return Message{Info: m.Info, Parts: append([]Part{}, m.Parts...)}
}

// enqueue adds a turn that runs after those before it. A prompt whose message id the
// session knows is one that was sent again: it joins the turn it began.
// ctx lends the turn its values; the turn outlives it.
func (s *session) enqueue(ctx context.Context, p prompt, said content) (*turn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.known(p.MessageID); t != nil {
		return t, nil
	}
	t := &turn{session: s, prompt: p, said: said, done: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if s.ended || (len(s.queue) == 0 && !s.agent.start(s.work)) {
		t.cancel()
		return nil, notFound("Session not found: %s", s.id)
	}
	s.queue = append(s.queue, t)
	return t, nil
}

// known finds the turn of a user message: one that waits or runs, or one that is over.
// s.mu is held.
func (s *session) known(id string) *turn {
	if id == "" {
		return nil
	}
	for _, t := range s.queue {
		if t.prompt.MessageID == id {
			return t
		}
	}
	for _, m := range slices.Backward(s.thread) {
		if m.Info.ID == id || (m.Info.Reply != nil && m.Info.ParentID == id) {
			over := &turn{done: make(chan struct{}), answer: m.clone()}
			close(over.done)
			return over
		}
	}
	return nil
}

// work runs turns until none waits. There is no goroutine for an idle session.
func (s *session) work() {
	for t := s.next(0); t != nil; t = s.next(1) {
		s.agent.tidy.Stop()
		t.run()
		s.agent.tidy.Reset(tidyAfter)
	}
}

// next takes the turns that are over out of the queue and returns the one after them.
func (s *session) next(over int) *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = slices.Delete(s.queue, 0, over)
	if len(s.queue) == 0 {
		return nil
	}
	return s.queue[0]
}

// end makes s refuse further turns and aborts those it has.
func (s *session) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.abort()
}

// abort ends the running turn and those that wait, each with an answer that says so.
func (s *session) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.queue {
		t.cancel()
	}
}

// setStatus changes and tells the status.
func (s *session) setStatus(st Status) {
	s.mu.Lock()
	s.status = st
	s.mu.Unlock()
	s.tell("session.status", Properties{Status: &st})
}

// touch marks the session as changed, counts used tokens and tells both.
func (s *session) touch(used Tokens) {
	s.mu.Lock()
	s.info.Time.Updated = now()
	s.info.Tokens = s.info.Tokens.add(used)
	info := s.info
	s.mu.Unlock()
	s.tell("session.updated", Properties{Info: info})
}

// add puts a message at the end of the thread and tells it, parts included.
func (s *session) add(m Message) {
	s.mu.Lock()
	s.thread = append(s.thread, m.clone())
	s.mu.Unlock()
	s.tell("message.updated", Properties{Info: m.Info})
	for _, p := range m.Parts {
		s.tell("message.part.updated", Properties{Part: &p, Time: now()})
	}
}

// edit changes the last message of the thread. fn must not keep it.
func (s *session) edit(fn func(m *Message)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.thread[len(s.thread)-1])
}
