package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// settleLimit is how long lap may take to put right what a fault has left.
const settleLimit = 30 * time.Second

// short is an id as violations show it.
func short(id string) string { return id[:min(8, len(id))] }

// settle waits until nothing is left to be put right.
func (s *stage) settle(ctx context.Context) {
	var left []string
	await(ctx, settleLimit, func() bool {
		left = s.unsettled(ctx)
		return len(left) == 0
	})
	for _, what := range left {
		s.fault("after %s still: %s", settleLimit, what)
	}
}

// unsettled returns what lap has still to put right.
func (s *stage) unsettled(ctx context.Context) []string {
	snap, err := s.lap.snapshot(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	return slices.Concat(s.restless(snap), snap.misplaced(), s.behindLog(snap))
}

// restless are sessions and turns that are not where they come to rest.
func (s *stage) restless(snap *snapshot) (list []string) {
	for _, r := range snap.sessions {
		if r.status == "creating" {
			list = append(list, "session "+short(r.id)+" is creating")
		}
		stopped := slices.ContainsFunc(s.parties, func(p *party) bool { return p.id == r.id && p.stopped })
		if r.over() && r.reason == "" && !stopped {
			list = append(list, "session "+short(r.id)+" is "+r.status+" without a reason")
		}
	}
	for _, t := range snap.turns {
		if t.status == "queued" || t.status == "running" {
			list = append(list, fmt.Sprintf("turn %d of session %s is %s", t.seq, short(t.session), t.status))
		}
	}
	return list
}

// misplaced are containers and rows that do not belong together.
func (snap *snapshot) misplaced() (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	at := map[string]box{}
	for _, b := range snap.boxes {
		at[b.id] = b
		if !slices.ContainsFunc(snap.sandboxes, func(r sandboxRow) bool { return r.container == b.id }) {
			add("container %s of session %q has no row", short(b.id), short(b.session))
		}
	}
	for _, r := range snap.sandboxes {
		b, there := at[r.container]
		owner := snap.session(r.session)
		switch {
		case r.state == "making" || r.state == "removing":
			add("sandbox %s is %s", r.name, r.state)
		case !there && r.state == "owned" && owner != nil && owner.status == "dead" && owner.revivable:
			// Whoever brings the session back removes what is left of its sandbox first.
		case !there:
			add("sandbox %s has no container", r.name)
		case r.state == "warm" && b.state != "running":
			add("warm sandbox %s is %s", r.name, b.state)
		case r.state == "owned" && (owner == nil || owner.over()):
			add("sandbox %s is left of a session that is over", r.name)
		case r.state == "owned" && owner.status == "ready" && (owner.container != r.container || b.state != "running" && b.state != "paused"):
			add("sandbox %s is not the one that its session uses, or %s", r.name, b.state)
		}
	}
	for _, r := range snap.sessions {
		if r.status == "ready" && snap.owned(r.id) == nil {
			add("session %s is ready without a sandbox", short(r.id))
		}
	}
	return list
}

// behindLog are event logs with gaps, and readers that have not all of them.
func (s *stage) behindLog(snap *snapshot) (list []string) {
	for _, r := range snap.sessions {
		var at int64
		for _, e := range snap.events[r.id] {
			if e.last-e.length != at {
				list = append(list, fmt.Sprintf("the log of session %s has a gap before %d", short(r.id), e.last))
			}
			at = e.last
		}
		if at != r.lastEvent {
			list = append(list, fmt.Sprintf("the log of session %s ends at %d, not at %d", short(r.id), at, r.lastEvent))
		}
		for _, p := range s.parties {
			if got := p.reader.last(); p.id == r.id && (r.status == "ready" && got < at || got > at) {
				list = append(list, fmt.Sprintf("a reader of session %s has %d events of %d", short(r.id), got, at))
			}
		}
	}
	return list
}

// turnsOf returns the turns of a message.
func (snap *snapshot) turnsOf(m *said) (list []turnRow) {
	for _, t := range snap.turns {
		if m.party != nil && t.session == m.party.id && strings.Contains(t.parts, m.mark) {
			list = append(list, t)
		}
	}
	return list
}

// prove checks all that was promised, of a stage that has settled.
func (s *stage) prove(ctx context.Context) {
	marks := map[*party]string{}
	for _, p := range s.parties {
		marks[p] = s.probe(ctx, p)
	}
	s.settle(ctx)
	snap, err := s.lap.snapshot(ctx)
	if err != nil {
		s.fault("%v", err)
		return
	}
	for _, p := range s.parties {
		s.proveParty(ctx, snap, p, marks[p])
	}
	for i := range snap.turns {
		if t := snap.turns[i]; i > 0 && snap.turns[i-1].session == t.session && t.seq != snap.turns[i-1].seq+1 {
			s.fault("turns of session %s have a gap before %d", short(t.session), t.seq)
		}
	}
}

const noMarks = "-"

// probe sends a last message to a session that takes some, and returns the marks in its
// sandbox; noMarks when it has ended.
func (s *stage) probe(ctx context.Context, p *party) string {
	if s.over(ctx, p) {
		return noMarks
	}
	got := s.lap.call(ctx, http.MethodPost, sessionPath(p.id)+"/message", "", map[string]string{"text": "RUN: cat /marks"})
	if !got.ok() && s.over(ctx, p) { // it has come to its end meanwhile
		return noMarks
	}
	if !got.ok() {
		s.fault("session %s does not answer: %s %s", short(p.id), got, got.body)
		return noMarks
	}
	var reply client
	if err := got.into(&reply); err != nil {
		s.fault("%v", err)
	}
	return reply.text()
}

// over reports whether a session takes no more messages.
func (s *stage) over(ctx context.Context, p *party) bool {
	snap, err := s.lap.snapshot(ctx)
	if err != nil {
		s.fault("%v", err)
		return true
	}
	r := snap.session(p.id)
	return r == nil || r.over()
}

func (s *stage) proveParty(ctx context.Context, snap *snapshot, p *party, marks string) {
	row := snap.session(p.id)
	if p.ended && row != nil && (row.status != "dead" || row.revivable) {
		s.fault("session %s was ended and is %s", short(p.id), row.status)
	}
	if row == nil {
		if !p.ended && !p.stopped {
			s.fault("session %s is gone", short(p.id))
		}
		return
	}
	thread, err := s.thread(ctx, p)
	if err != nil {
		s.fault("%v", err)
		return
	}
	same := marks != noMarks && snap.owned(p.id) != nil && snap.owned(p.id).generation <= 1
	for _, m := range s.said {
		if m.party == p {
			s.proveSaid(snap, m, thread)
			s.proveMark(snap, m, marks, same)
		}
	}
	s.proveLog(ctx, row, p)
}

// proveSaid checks that a message was not lost, and not taken twice.
func (s *stage) proveSaid(snap *snapshot, m *said, thread []client) {
	turns := snap.turnsOf(m)
	if len(turns) > 1 {
		s.fault("%s was taken %d times", m.mark, len(turns))
	}
	complete := len(turns) == 1 && turns[0].status == "complete"
	switch {
	case m.told() && !complete && (!m.stopped || len(turns) != 1 || !turns[0].reply):
		s.fault("%s was answered, but its turns are %v", m.mark, states(turns))
	case m.aborted && complete:
		s.fault("%s was aborted, but is complete", m.mark)
	case m.first.ok() && m.again.ok() && string(m.first.body) != string(m.again.body):
		s.fault("%s was answered in two ways", m.mark)
	case m.key != "" && complete && m.again.status != 0 && !m.again.ok():
		s.fault("%s is complete, but its retry got %s", m.mark, m.again)
	}
	var users, calls int
	for _, t := range thread {
		users += t.says(m.text)
		calls += t.calls(m.mark)
	}
	if users > 1 || complete && users != 1 {
		s.fault("%s is %d times in the conversation", m.mark, users)
	}
	if calls > 1 {
		s.fault("%s was carried out %d times", m.mark, calls)
	}
}

func states(turns []turnRow) (list []string) {
	for _, t := range turns {
		list = append(list, t.status)
	}
	return list
}

// proveMark checks what a message did in its sandbox. same says that this is the sandbox
// that the session had from the first.
func (s *stage) proveMark(snap *snapshot, m *said, marks string, same bool) {
	turns := snap.turnsOf(m)
	n := strings.Count(marks, m.mark)
	switch {
	case n > 1:
		s.fault("%s was done %d times", m.mark, n)
	case m.aborted && n > 0:
		s.fault("%s was aborted, but done", m.mark)
	case n == 0 && same && len(turns) == 1 && turns[0].status == "complete":
		s.fault("%s is complete, but was not done", m.mark)
	}
}

// proveLog checks that a reader who was cut off has the same events as one who was not.
func (s *stage) proveLog(ctx context.Context, row *sessionRow, p *party) {
	events, faults := p.reader.seen()
	for _, f := range faults {
		s.fault("events of session %s: %s", short(p.id), f)
	}
	if row.status != "ready" {
		return
	}
	fresh := s.lap.newReader(ctx, p.id)
	defer fresh.close()
	if !fresh.reaches(row.lastEvent, settleLimit) {
		s.fault("a new reader of session %s gets %d events of %d", short(p.id), fresh.last(), row.lastEvent)
		return
	}
	whole, _ := fresh.seen()
	for i, e := range events[:min(len(events), len(whole))] {
		if e.body != whole[i].body && !thinned(whole[i].body) {
			s.fault("event %d of session %s was read as %.200s, and is now %.200s", e.id, short(p.id), e.body, whole[i].body)
			return
		}
	}
}

// thinned reports whether an event may have been shortened when its turn was over.
func thinned(body string) bool { return strings.Contains(body, `"type":"tool"`) }

// A client is a message as clients read it.
type client struct {
	Info  struct{ Role string }
	Parts []struct {
		Type, Text string
		State      struct{ Input json.RawMessage }
	}
}

// thread reads the conversation of a session.
func (s *stage) thread(ctx context.Context, p *party) ([]client, error) {
	var page struct{ Data []client }
	err := s.lap.call(ctx, http.MethodGet, sessionPath(p.id)+"/messages?limit=200", "", nil).into(&page)
	return page.Data, err
}

// text is the text parts of a message.
func (c client) text() string {
	var b strings.Builder
	for _, p := range c.Parts {
		if p.Type == "text" {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

// says counts how often a user says a text in it.
func (c client) says(text string) (n int) {
	for _, p := range c.Parts {
		if c.Info.Role == "user" && p.Type == "text" && p.Text == text {
			n++
		}
	}
	return n
}

// calls counts the tool calls in it that would leave a mark.
func (c client) calls(mark string) (n int) {
	for _, p := range c.Parts {
		if p.Type == "tool" && strings.Contains(string(p.State.Input), mark) {
			n++
		}
	}
	return n
}
