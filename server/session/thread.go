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
	stored  int // how often the store has taken messages over
}

// A draft is a message that events tell of.
type draft struct {
	info  json.RawMessage
	parts []*draftPart
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
		if d := t.byID[p.MessageID]; d != nil {
			d.grow(p.PartID, p.Field, p.Delta)
		}
	case "message.part.removed":
		d, err := t.draft(ctx, p.MessageID)
		if d != nil {
			d.parts = slices.DeleteFunc(d.parts, func(q *draftPart) bool { return q.id == p.PartID })
			d.dirty = true
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
		d.parts = append(d.parts, &draftPart{id: field(raw, "id"), raw: raw})
	}
	return nil
}

// put replaces the part with the id, or adds it.
func (d *draft) put(id string, raw json.RawMessage) {
	d.dirty = true
	for _, p := range d.parts {
		if p.id == id {
			p.raw, p.grown = raw, nil
			return
		}
	}
	d.parts = append(d.parts, &draftPart{id: id, raw: raw})
}

// grow adds to a field of a part. The whole part will come when it is complete.
func (d *draft) grow(id, field, delta string) {
	for _, p := range d.parts {
		if p.id != id {
			continue
		}
		if p.grown == nil {
			p.grown = map[string]*strings.Builder{}
		}
		if p.grown[field] == nil {
			p.grown[field] = &strings.Builder{}
		}
		p.grown[field].WriteString(delta)
	}
}

// body is the message as it is now; nil while nothing but parts is known.
func (d *draft) body() (json.RawMessage, error) {
	if d.info == nil {
		return nil, nil
	}
	parts := make([]json.RawMessage, 0, len(d.parts))
	for _, p := range d.parts {
		raw, err := p.whole()
		if err != nil {
			return nil, err
		}
		parts = append(parts, raw)
	}
	return encode(struct {
		Info  json.RawMessage   `json:"info"`
		Parts []json.RawMessage `json:"parts"`
	}{d.info, parts})
}

func (p *draftPart) whole() (json.RawMessage, error) {
	if len(p.grown) == 0 {
		return p.raw, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(p.raw, &members); err != nil || members == nil {
		return p.raw, err
	}
	for name, more := range p.grown {
		var text string
		if before, ok := members[name]; ok {
			if err := json.Unmarshal(before, &text); err != nil {
				continue // not a text: the whole part will tell
			}
		}
		raw, err := encode(text + more.String())
		if err != nil {
			return nil, err
		}
		members[name] = raw
	}
	return encode(members)
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
func (t *thread) flush() (messages []db.Message, removed []string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range t.order {
		d := t.byID[id]
		if !d.dirty {
			continue
		}
		body, err := d.body()
		if err != nil {
			return nil, nil, err
		}
		if body != nil {
			messages = append(messages, db.Message{ID: id, Body: body})
			d.dirty = false
		}
	}
	removed, t.removed = t.removed, nil
	return messages, removed, nil
}

// flushed notes that what flush returned is stored. With over, the turn that the
// messages belong to has ended, and the thread begins anew.
func (t *thread) flushed(over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stored++
	if over {
		t.clear()
	}
}

// clear forgets all messages. t.mu is held.
func (t *thread) clear() { t.order, t.byID, t.removed = nil, map[string]*draft{}, nil }

// rebuild puts the thread together anew from the events in the store after the given one.
func (t *thread) rebuild(ctx context.Context, after int64) error {
	t.mu.Lock()
	t.clear()
	t.mu.Unlock()
	for {
		events, err := t.store.Events(ctx, t.id, after, feedPage)
		if err != nil || len(events) == 0 {
			return err
		}
		for _, e := range events {
			var ev telling
			if err := json.Unmarshal(e.Body, &ev); err != nil {
				return fmt.Errorf("event %d: %w", e.Seq, err)
			}
			if err := t.apply(ctx, ev); err != nil {
				return err
			}
		}
		after = events[len(events)-1].Seq
	}
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
			all, err = t.merge(all)
			t.mu.Unlock()
			return all, err
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
func (t *thread) merge(all []db.Message) ([]db.Message, error) {
	at := make(map[string]int, len(all))
	for i, m := range all {
		at[m.ID] = i
	}
	for _, id := range t.order {
		body, err := t.byID[id].body()
		if err != nil {
			return nil, err
		}
		if i, ok := at[id]; ok && body != nil {
			all[i].Body = body
		} else if body != nil {
			all = append(all, db.Message{ID: id, Body: body})
		}
	}
	return all, nil
}

// Messages returns the thread of a session, oldest first, with what is being written
// now. The error is db.ErrNotFound.
func (e *Engine) Messages(ctx context.Context, id string) ([]json.RawMessage, error) {
	if _, err := e.cfg.Store.Session(ctx, id); err != nil {
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
