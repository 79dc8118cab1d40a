package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"lap/db"
)

// A thread is the part of a session's conversation that is not stored yet, put together
// from the events of its harness. What is complete goes to the store with the events.
type thread struct {
	store *db.Store
	id    string // of the session

	mu      sync.Mutex // guards what follows
	order   []string   // ids of messages in the order in which they came
	byID    map[string]*draft
	removed []string
	size    int // bytes of what came since it was empty
	stored  int // how often the store has taken messages over
}

// What a thread holds before it goes to the store, and what it takes of one message; the
// log has all.
const (
	heavyDrafts = 1024
	heavyBytes  = 32 << 20
	maxDraft    = maxReply
	maxParts    = 10_000
)

// A draft is a message that events tell of.
type draft struct {
	info  json.RawMessage
	parts []*draftPart
	size  int  // bytes of parts
	dirty bool // the store has another
}

type draftPart struct {
	id    string
	raw   json.RawMessage
	grown map[string]*strings.Builder // by field: what deltas added since
}

func newThread(store *db.Store, id string) *thread {
	return &thread{store: store, id: id, byID: map[string]*draft{}}
}

// A telling is what a thread looks at in an event.
type telling struct {
	Type       string `json:"type"`
	Properties struct {
		SessionID string          `json:"sessionID"`
		Info      json.RawMessage `json:"info"`
		Part      json.RawMessage `json:"part"`
		MessageID string          `json:"messageID"`
		PartID    string          `json:"partID"`
		Field     string          `json:"field"`
		Delta     string          `json:"delta"`
	} `json:"properties"`
}

// apply takes an event in.
func (t *thread) apply(ctx context.Context, ev telling) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := ev.Properties
	t.size += len(p.Info) + len(p.Part) + len(p.Delta)
	switch ev.Type {
	case "message.updated":
		id := field(p.Info, "id")
		d, err := t.draft(ctx, id)
		if d != nil {
			d.info, d.dirty = p.Info, true
		}
		return err
	case "message.part.updated":
		d, err := t.draft(ctx, field(p.Part, "messageID"))
		if d != nil {
			d.put(field(p.Part, "id"), p.Part)
		}
		return err
	case "message.part.delta":
		d, err := t.draft(ctx, p.MessageID)
		if d != nil {
			d.grow(p.PartID, p.Field, p.Delta)
		}
		return err
	case "message.part.removed":
		d, err := t.draft(ctx, p.MessageID)
		if d != nil {
			d.remove(p.PartID)
		}
		return err
	case "message.removed":
		delete(t.byID, p.MessageID)
		t.order = slices.DeleteFunc(t.order, func(id string) bool { return id == p.MessageID })
		t.removed = append(t.removed, p.MessageID)
	}
	return nil
}

// draft returns the draft of a message: the one there is, else what is stored, else a new
// one. It is nil for an event that names no message.
func (t *thread) draft(ctx context.Context, id string) (*draft, error) {
	if d := t.byID[id]; d != nil || id == "" {
		return d, nil
	}
	d := &draft{}
	body, err := t.store.Message(ctx, t.id, id)
	switch {
	case err == nil:
		err = d.load(body)
	case errors.Is(err, db.ErrNotFound):
		err = nil
	}
	if err != nil {
		return nil, err
	}
	t.byID[id] = d
	t.order = append(t.order, id)
	return d, nil
}

func (d *draft) load(body json.RawMessage) error {
	var m struct {
		Info  json.RawMessage   `json:"info"`
		Parts []json.RawMessage `json:"parts"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("a stored message: %w", err)
	}
	d.info = m.Info
	for _, raw := range m.Parts {
		d.size += len(raw)
		d.parts = append(d.parts, &draftPart{id: field(raw, "id"), raw: raw})
	}
	return nil
}

func (d *draft) part(id string) *draftPart {
	for _, p := range d.parts {
		if p.id == id {
			return p
		}
	}
	return nil
}

// put replaces the part with the id, or adds it. What is too much is left out.
func (d *draft) put(id string, raw json.RawMessage) {
	p := d.part(id)
	if p == nil && len(d.parts) < maxParts {
		p = &draftPart{id: id}
		d.parts = append(d.parts, p)
	}
	if p == nil || d.size-p.size()+len(raw) > maxDraft {
		return
	}
	d.size += len(raw) - p.size()
	p.raw, p.grown, d.dirty = raw, nil, true
}

// grow adds to a field of a part. The whole part will come when it is complete.
func (d *draft) grow(id, field, delta string) {
	p := d.part(id)
	if p == nil || d.size+len(delta) > maxDraft {
		return
	}
	if p.grown == nil {
		p.grown = map[string]*strings.Builder{}
	}
	if p.grown[field] == nil {
		p.grown[field] = &strings.Builder{}
	}
	p.grown[field].WriteString(delta)
	d.size, d.dirty = d.size+len(delta), true
}

func (d *draft) remove(id string) {
	if p := d.part(id); p != nil {
		d.size, d.dirty = d.size-p.size(), true
		d.parts = slices.DeleteFunc(d.parts, func(q *draftPart) bool { return q == p })
	}
}

// body is the message as it is now; nil while nothing but parts is known.
func (d *draft) body() json.RawMessage {
	if d.info == nil {
		return nil
	}
	parts := make([]json.RawMessage, 0, len(d.parts))
	for _, p := range d.parts {
		if raw := p.whole(); raw != nil {
			parts = append(parts, raw)
		}
	}
	return mustEncode(struct {
		Info  json.RawMessage   `json:"info"`
		Parts []json.RawMessage `json:"parts"`
	}{d.info, parts})
}

func (p *draftPart) size() int {
	n := len(p.raw)
	for _, more := range p.grown {
		n += more.Len()
	}
	return n
}

// whole is the part as it is now. What grew in something that is no text, or no object, is
// left out: the whole part will tell.
func (p *draftPart) whole() json.RawMessage {
	var members map[string]json.RawMessage
	if len(p.grown) == 0 || json.Unmarshal(p.raw, &members) != nil || members == nil {
		return p.raw
	}
	for name, more := range p.grown {
		var text string
		if before, ok := members[name]; !ok || json.Unmarshal(before, &text) == nil {
			members[name] = mustEncode(text + more.String())
		}
	}
	return mustEncode(members)
}

// mustEncode is encode of what came out of valid JSON.
func mustEncode(v any) json.RawMessage {
	b, err := encode(v)
	if err != nil {
		panic(err)
	}
	return b
}

// knows reports whether a message of the harness's own thread is known as it is there.
func (t *thread) knows(ctx context.Context, info json.RawMessage, parts []json.RawMessage) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, err := t.draft(ctx, field(info, "id"))
	if err != nil || d == nil || d.info == nil || len(d.parts) != len(parts) {
		return false, err
	}
	same := bytes.Equal(d.info, info)
	for i, p := range d.parts {
		_, part, err := plainPart(json.RawMessage(`{"properties":{}}`), parts[i])
		if err != nil {
			return false, err
		}
		same = same && len(p.grown) == 0 && bytes.Equal(p.raw, part)
	}
	return same, nil
}

// flush returns what the store lacks of the messages. The caller stores it and calls
// flushed.
func (t *thread) flush() (messages []db.Message, removed []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range t.order {
		if d := t.byID[id]; d.dirty {
			if body := d.body(); body != nil {
				messages = append(messages, db.Message{ID: id, Body: body})
			}
		}
	}
	return messages, t.removed
}

// flushed notes that what flush returned is stored, so that the thread begins anew: what
// comes for a message that is stored changes that one. A message of which only parts are
// known stays.
func (t *thread) flushed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stored++
	before, waiting := t.order, t.byID
	t.clear()
	for _, id := range before {
		if d := waiting[id]; d.info == nil && len(d.parts) > 0 && len(t.order) < heavyDrafts/2 && t.size+d.size < heavyBytes/2 {
			t.order, t.byID[id] = append(t.order, id), d
			t.size += d.size
		}
	}
}

// clear forgets all messages. t.mu is held.
func (t *thread) clear() { t.order, t.byID, t.removed, t.size = nil, map[string]*draft{}, nil, 0 }

// heavy reports whether the thread holds so much that it must go to the store now.
func (t *thread) heavy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.order)+len(t.removed) > heavyDrafts || t.size > heavyBytes
}

// rebuild puts the thread together anew from the events in the store after the given one.
func (t *thread) rebuild(ctx context.Context, after int64) error {
	fresh := newThread(t.store, t.id)
	for {
		events, err := t.store.Events(ctx, t.id, after, feedPage)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			var ev telling
			if err := json.Unmarshal(e.Body, &ev); err != nil {
				return fmt.Errorf("event %d: %w", e.Seq, err)
			}
			if err := fresh.apply(ctx, ev); err != nil {
				return err
			}
		}
		after = events[len(events)-1].Seq
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.order, t.byID, t.removed, t.size = fresh.order, fresh.byID, fresh.removed, fresh.size
	return nil
}

// messages returns the stored messages, with those that are being written in their
// places or after them.
func (t *thread) messages(ctx context.Context) ([]db.Message, error) {
	for {
		before := t.version()
		all, err := t.store.Messages(ctx, t.id)
		if err != nil {
			return nil, err
		}
		t.mu.Lock()
		if t.stored == before { // else some may have gone from here to there meanwhile
			all = t.merge(all)
			t.mu.Unlock()
			return all, nil
		}
		t.mu.Unlock()
	}
}

func (t *thread) version() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stored
}

// merge puts the messages that are being written into a list of stored ones. t.mu is held.
func (t *thread) merge(all []db.Message) []db.Message {
	at := make(map[string]int, len(all))
	for i, m := range all {
		at[m.ID] = i
	}
	for _, id := range t.order {
		body := t.byID[id].body()
		if i, ok := at[id]; ok && body != nil {
			all[i].Body = body
		} else if body != nil {
			all = append(all, db.Message{ID: id, Body: body})
		}
	}
	return all
}

// Messages returns the thread of a session, oldest first, with what is being written
// now. The error is db.ErrNotFound.
func (e *Engine) Messages(ctx context.Context, id string) ([]json.RawMessage, error) {
	if _, err := e.cfg.Store.SessionState(ctx, id); err != nil {
		return nil, err
	}
	t := e.threadOf(id)
	all, err := t.messages(ctx)
	if err != nil {
		return nil, err
	}
	bodies := make([]json.RawMessage, len(all))
	for i, m := range all {
		bodies[i] = m.Body
	}
	return bodies, nil
}

// threadOf returns the thread that is being written, or an empty one.
func (e *Engine) threadOf(id string) *thread {
	if l := e.find(id); l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.box != nil {
			return l.box.thread
		}
	}
	return newThread(e.cfg.Store, id)
}

// field is a text member of a JSON object, "" when there is none.
func field(raw json.RawMessage, name string) string { return gjson.GetBytes(raw, name).String() }
