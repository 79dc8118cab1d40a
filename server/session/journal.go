package session

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lap/db"
	"lap/sandbox"
)

const (
	batchEntries = 256      // entries stored at once
	batchBytes   = 1 << 20  // and bytes of them
	maxLine      = 72 << 20 // of a journal: a reply of 64 MiB, quoted
	ackEvery     = 128      // entries that a guest may keep although they are stored

	ackTimeout    = 10 * time.Second
	resyncTimeout = 30 * time.Second
	resyncPause   = time.Second // between two, which cost the host more than the guest
)

// A journal is being read: what a sandbox tells is stored, then passed on.
type journal struct {
	engine *Engine
	live   *live
	box    *box
	client *http.Client
	at     int64 // the last entry that is stored
	acked  int64 // the last entry that the guest was told so of
	synced time.Time
}

// A reading is a batch in the making.
type reading struct {
	db.Batch
	size int
	lost bool // entries are missing at its end
	idle bool // a turn has ended in it
}

// read stores entries until the journal breaks off.
func (j *journal) read(ctx context.Context, body io.Reader) error {
	lines := bufio.NewReaderSize(body, 64<<10)
	for {
		r := &reading{Batch: db.Batch{SessionID: j.live.id, Generation: j.box.session.Generation, After: j.at, Journal: j.at}}
		for more := true; more; more = !r.lost && len(r.Events) < batchEntries && r.size < batchBytes && waits(lines) {
			line, err := readLine(lines)
			if err != nil {
				return err
			}
			if err := j.take(ctx, r, line); err != nil {
				return err
			}
		}
		if err := j.store(ctx, r); err != nil {
			return err
		}
	}
}

// waits reports whether a whole line can be read without waiting.
func waits(lines *bufio.Reader) bool {
	b, _ := lines.Peek(lines.Buffered()) // no more than there is
	return bytes.IndexByte(b, '\n') >= 0
}

// readLine reads a line of at most maxLine bytes.
func readLine(lines *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := lines.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, errors.Join(err, io.ErrUnexpectedEOF)
		case len(line) > maxLine:
			return nil, fmt.Errorf("%w: a journal entry of more than %d MiB", errJournal, maxLine>>20)
		}
	}
}

// errJournal says that a journal is not as a guest of lap keeps it.
var errJournal = errors.New("the sandbox's journal is broken")

// take adds an entry to a batch.
func (j *journal) take(ctx context.Context, r *reading, line []byte) error {
	var entry sandbox.Entry
	if err := json.Unmarshal(line, &entry); err != nil {
		return fmt.Errorf("%w: %w", errJournal, err)
	}
	if entry.N != r.Journal+max(1, int64(entry.Lost)) || entry.N <= r.Journal {
		return fmt.Errorf("%w: entry %d after %d", errJournal, entry.N, r.Journal)
	}
	r.Journal = entry.N
	r.size += len(line)
	switch {
	case entry.Lost > 0:
		r.lost = true
	case entry.Turn != nil:
		r.idle = true
		r.Ends = append(r.Ends, j.outcome(entry.Turn))
	case entry.Event != nil:
		ev, event, ok := readEvent(entry.Event, deref(j.box.session.HarnessSessionID))
		if !ok {
			return nil
		}
		r.idle = r.idle || ev.Type == "session.idle"
		r.Events = append(r.Events, event)
		return j.box.thread.apply(ctx, ev)
	default:
		j.live.output.add(entry.Log)
	}
	return nil
}

// outcome reads how a turn ended.
func (j *journal) outcome(t *sandbox.TurnResult) db.TurnEnd {
	seq, err := strconv.ParseInt(t.ID, 10, 64)
	if err != nil {
		seq = -1 // no turn of ours
	}
	end := db.TurnEnd{Seq: seq, Status: db.TurnFailed}
	switch {
	case t.Error != "": // no answer, or one that the guest could not keep
		end.Error, end.Primed = oneLine("no reply of the harness: "+t.Error), t.Status != 0
	case t.Status >= http.StatusBadRequest:
		end.Error = oneLine((&statusError{status: t.Status, body: clipBytes(t.Body, 2<<10)}).Error())
	default:
		end.Primed = true
		reply, err := parseReply(t.Body)
		if err != nil {
			end.Error = oneLine(err.Error())
			break
		}
		end.Status, end.Reply = db.TurnComplete, reply
		if j.live.wasAborted(seq) || aborted(reply) {
			end.Status, end.Error = db.TurnFailed, errAborted.Error()
		}
	}
	return end
}

// store writes a batch, and passes on what it holds.
func (j *journal) store(ctx context.Context, r *reading) error {
	e, l := j.engine, j.live
	if r.lost {
		if err := j.resync(ctx, r); err != nil {
			return err
		}
	}
	flush := r.idle || j.box.thread.heavy() || !l.busy()
	if flush {
		r.Messages, r.Removed = j.box.thread.flush()
	}
	last, err := e.cfg.Store.Append(ctx, r.Batch)
	if err != nil {
		l.hub.forget() // what was to be stored may be so all the same
		return err
	}
	j.at = r.Journal
	if flush {
		j.box.thread.flushed()
	}
	l.hub.publish(numbered(r.Events, last, e.cfg.Clock.Now()))
	if len(r.Ends) > 0 {
		for _, end := range r.Ends { // its worker may never have seen it run: after a start, the journal is read at once
			if err := e.noteFirst(ctx, l, end.Seq); err != nil {
				e.cfg.Log.WarnContext(ctx, "failed initial prompt not noted", "session", l.id, "err", err)
			}
		}
		l.setBusy(false)
		l.turnsChanged()
		e.pack(l, r.Ends, last)
	}
	if r.idle || j.at-j.acked >= ackEvery {
		return j.ack(ctx)
	}
	return nil
}

// numbered gives events their places in the log; the last one's is known.
func numbered(events []db.NewEvent, last int64, now time.Time) []db.Event {
	out := make([]db.Event, len(events))
	for i, ev := range events {
		out[i] = db.Event{Seq: last - int64(len(events)-1-i), Type: ev.Type, Body: ev.Body, At: now}
	}
	return out
}

// ack tells the guest what it may forget.
func (j *journal) ack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	_, err := call(ctx, j.client, http.MethodPost, "/journal?through="+strconv.FormatInt(j.at, 10), nil)
	if err == nil {
		j.acked = j.at
	}
	return err
}

// resync adds to a batch, which lacks entries at its end, events that bring its readers up
// to date: each message of the harness's thread that is not known as it is now. Entries
// that follow may tell some of it again.
func (j *journal) resync(ctx context.Context, r *reading) error {
	sleep(ctx, resyncPause-time.Since(j.synced))
	ctx, cancel := context.WithTimeout(ctx, resyncTimeout)
	defer cancel()
	answer, err := call(ctx, j.client, http.MethodGet, harnessPath(j.box.session, "/message"), nil)
	if err != nil {
		return err
	}
	j.synced = time.Now()
	var list []struct {
		Info  json.RawMessage   `json:"info"`
		Parts []json.RawMessage `json:"parts"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		return fmt.Errorf("the harness's thread is no JSON array: %w", err)
	}
	for _, m := range list {
		known, err := j.box.thread.knows(ctx, m.Info, m.Parts)
		if err != nil {
			return err
		}
		if known {
			continue
		}
		err = j.tell(ctx, r, "message.updated", "info", m.Info)
		for _, part := range m.Parts {
			err = errors.Join(err, j.tell(ctx, r, "message.part.updated", "part", part))
		}
		if err != nil {
			return err
		}
	}
	r.idle = true
	return nil
}

// tell adds an event to a batch that the harness did not send.
func (j *journal) tell(ctx context.Context, r *reading, kind, member string, value json.RawMessage) error {
	hid := deref(j.box.session.HarnessSessionID)
	id, err := encode(hid)
	if err != nil {
		return err
	}
	frame := json.RawMessage(`{"type":"` + kind + `","properties":{"sessionID":` + string(id) + `,"` + member + `":` + string(value) + `}}`)
	ev, event, ok := readEvent(frame, hid)
	if !ok {
		return nil
	}
	r.Events = append(r.Events, event)
	return j.box.thread.apply(ctx, ev)
}

// busy reports whether a turn is carried out whose result has not come yet.
func (l *live) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inTurn
}

func (l *live) setBusy(busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inTurn = busy
}

// wasAborted reports whether a user has aborted the turn.
func (l *live) wasAborted(seq int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.aborts[seq]
}

// aborted reports whether a reply says that its turn was aborted.
func aborted(reply json.RawMessage) bool {
	return strings.HasSuffix(field(reply, "info.error.name"), "AbortedError")
}
