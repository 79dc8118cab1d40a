//go:build linux

package guest

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"
)

// leaveTimeout is for a reader that was replaced to take what is being written to it.
const leaveTimeout = time.Second

// A reader is the host while it follows the journal.
type reader struct {
	more chan struct{} // has a value when there may be more to read
	end  context.CancelFunc
}

func (r *reader) wake() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// open makes r the journal's only reader and forgets what it has. It reports whether
// guest and after are of this journal.
func (j *journal) open(r *reader, guest string, after int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if guest != j.id || after > j.last {
		return false
	}
	j.forget(after)
	if j.reader != nil {
		j.reader.end()
	}
	j.reader = r
	return true
}

// close forgets r, unless another reader has taken its place.
func (j *journal) close(r *reader) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.reader == r {
		j.reader = nil
	}
}

// readJournal answers GET /journal.
func (g *Guest) readJournal(w http.ResponseWriter, r *http.Request) error {
	after, err := entryNumber(r, "after")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	rd := &reader{more: make(chan struct{}, 1), end: cancel}
	if !g.journal.open(rd, r.URL.Query().Get("guest"), after) {
		return refuse(http.StatusGone, "this is the journal of guest %s, and entry %d is not in it", g.journal.id, after)
	}
	defer g.journal.close(rd)
	w.Header().Set("Content-Type", "application/x-ndjson")
	to := http.NewResponseController(w)
	stop := context.AfterFunc(ctx, func() { _ = to.SetWriteDeadline(time.Now().Add(leaveTimeout)) })
	defer stop()
	for { // the first flush, of nothing, tells the reader that it is one
		batch := g.journal.after(after)
		if err := writeRecords(w, batch); err != nil || to.Flush() != nil || ctx.Err() != nil {
			return nil // a reader that has gone needs no answer
		}
		if len(batch) > 0 {
			after = batch[len(batch)-1].n
			continue
		}
		select {
		case <-rd.more:
		case <-ctx.Done():
			return nil
		}
	}
}

func writeRecords(w io.Writer, batch []record) error {
	for _, r := range batch {
		line := strconv.AppendInt([]byte(`{"n":`), r.n, 10)
		line = append(line, ',')
		if r.lost > 0 {
			line = append(strconv.AppendInt(append(line, `"lost":`...), r.lost, 10), "}\n"...)
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		if _, err := w.Write(r.text); err != nil {
			return err
		}
	}
	return nil
}

// forgetJournal answers POST /journal.
func (g *Guest) forgetJournal(w http.ResponseWriter, r *http.Request) error {
	through, err := entryNumber(r, "through")
	if err != nil {
		return err
	}
	j := g.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if through > j.last {
		return refuse(http.StatusBadRequest, "through: entry %d is not there yet", through)
	}
	j.forget(through)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// entryNumber reads the number of an entry from the query.
func entryNumber(r *http.Request, name string) (int64, error) {
	n, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
	if err != nil || n < 0 {
		return 0, refuse(http.StatusBadRequest, "%s: want the number of an entry", name)
	}
	return n, nil
}
