package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"lap/db"
)

const (
	// threadTimeout bounds how long a harness may take to show its thread.
	threadTimeout = 10 * time.Second
	// recent is how many of the newest messages are looked at after a turn, before the
	// whole thread is. A turn without tools adds two.
	recent = 8
)

// A message is what lap itself looks at in a message of a thread.
type message struct {
	Info struct {
		ID string `json:"id"`
	} `json:"info"`
	Parts []json.RawMessage `json:"parts"`
}

// Messages returns the thread of a session, oldest first: as the harness has it, else
// as it was last stored. The error is db.ErrNotFound, or ErrHarness when the harness
// cannot be reached and nothing is stored.
func (e *Engine) Messages(ctx context.Context, id string) ([]json.RawMessage, error) {
	s, err := e.cfg.Store.Session(ctx, id)
	if err != nil {
		return nil, err
	}
	var unreachable error
	if s.Status == db.StatusReady && s.HarnessSessionID != nil {
		var thread []json.RawMessage
		thread, unreachable = e.thread(ctx, e.adopt(s), s, 0)
		if len(thread) > 0 {
			return thread, nil
		}
	}
	stored, err := e.cfg.Store.Messages(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(stored) == 0 && unreachable != nil {
		return nil, fmt.Errorf("%w: %w", ErrHarness, unreachable)
	}
	return stored, nil
}

// thread asks the harness for the newest messages, or with limit 0 for all.
func (e *Engine) thread(ctx context.Context, l *live, s db.Session, limit int) ([]json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, threadTimeout)
	defer cancel()
	client, err := e.client(ctx, l, deref(s.ContainerID))
	if err != nil {
		return nil, err
	}
	path := harnessPath(s, "/message")
	if limit > 0 {
		path += "?limit=" + strconv.Itoa(limit)
	}
	answer, err := call(ctx, client, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	var thread []json.RawMessage
	if err := json.Unmarshal(answer, &thread); err != nil {
		return nil, fmt.Errorf("the harness's thread is no JSON array: %w", err)
	}
	return thread, nil
}

// snapshot stores what the thread has up to the message with id last, the reply to a
// turn. Later messages may not be whole yet. It runs when the reply has been answered,
// so that nobody waits for it. The caller holds l.snapshots.
func (e *Engine) snapshot(ctx context.Context, l *live, s db.Session, last string) {
	rows, err := e.tail(ctx, l, s, last)
	if err == nil && len(rows) > 0 {
		err = e.cfg.Store.SaveMessages(ctx, s.ID, rows)
	}
	if err != nil && ctx.Err() == nil { // the next one stores what is missing
		e.cfg.Log.WarnContext(ctx, "thread not stored", "session", s.ID, "err", err)
	}
	if err == nil && len(rows) > 0 {
		l.stored = rows[len(rows)-1].ID
	}
}

// tail returns the messages of the thread, as the store keeps them, that came after the
// one stored last, up to the one with id last. Where the stored one is not found, some
// may be stored already.
func (e *Engine) tail(ctx context.Context, l *live, s db.Session, last string) ([]db.Message, error) {
	thread, err := e.thread(ctx, l, s, recent)
	if err != nil {
		return nil, err
	}
	rows, found, err := rowsBetween(thread, l.stored, last)
	if err != nil || found || len(thread) < recent {
		return rows, err
	}
	if thread, err = e.thread(ctx, l, s, 0); err != nil {
		return nil, err
	}
	rows, _, err = rowsBetween(thread, l.stored, last)
	return rows, err
}

// rowsBetween returns the messages after the one with id after, up to the one with id
// last, and whether the first was found; if not, all up to last.
func rowsBetween(thread []json.RawMessage, after, last string) (rows []db.Message, found bool, err error) {
	for _, raw := range slices.Backward(thread) {
		id := messageID(raw)
		if id == after {
			found = true
			break
		}
		if id == last {
			rows = nil // those before were later
		}
		row, err := messageRow(raw)
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, row)
	}
	slices.Reverse(rows)
	return rows, found, nil
}

// messageID is the id of a message, "" when it has none.
func messageID(raw json.RawMessage) string {
	var m struct {
		Info struct {
			ID string `json:"id"`
		} `json:"info"`
	}
	_ = json.Unmarshal(raw, &m) // what is no message has no id
	return m.Info.ID
}

// messageRow is a message as the store keeps it.
func messageRow(raw json.RawMessage) (db.Message, error) {
	var m message
	if err := json.Unmarshal(raw, &m); err != nil {
		return db.Message{}, fmt.Errorf("a message of the thread: %w", err)
	}
	if m.Info.ID == "" {
		return db.Message{}, errors.New("a message of the thread has no id")
	}
	parts, err := withoutImages(m.Parts)
	if err != nil {
		return db.Message{}, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return db.Message{}, err
	}
	members["parts"] = parts
	body, err := json.Marshal(members)
	return db.Message{ID: m.Info.ID, Body: body}, err
}
