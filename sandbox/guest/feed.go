//go:build linux

package guest

import (
	"net/http"
	"sync"
	"time"

	"lap/sandbox"
)

const (
	// resultPatience is how long a session.idle waits for the result of its turn.
	resultPatience = 2 * time.Second
	// idlePatience is how long the result of a turn waits for its session.idle, which is
	// told with it then: who has the result can begin another turn.
	idlePatience = 100 * time.Millisecond
	// backlogLimit is how many bytes of frames may wait with it.
	backlogLimit = 4 << 20
)

// A feed writes the journal: it merges frames, and puts a turn's result before the
// session.idle that follows it.
//
// The two come on different ways. An idle event of a session that has a running turn is
// held back, and all frames after it, until a turn of that session has its result. When
// the result was first, the next idle event of the session is its own. With several turns
// at once in one session each idle event belongs to the first result that has none.
type feed struct {
	journal *journal

	mu       sync.Mutex // guards the rest
	merge    merger
	running  map[string]int  // turns, by harness session
	early    map[string]bool // harness sessions with a result whose idle event is to come
	awaited  string          // the harness session whose result backlog waits for
	backlog  []frame         // the idle event and what came after it
	size     int             // bytes of backlog
	until    time.Time       // when backlog goes without the result
	patience *time.Timer     // calls expire, in time
	held     chan struct{}   // closed when an idle event is held back next
}

func newFeed(j *journal) *feed {
	f := &feed{journal: j, running: map[string]int{}, early: map[string]bool{}, held: make(chan struct{})}
	f.merge.out = func(fr frame) { j.add(eventRecord(fr)) }
	f.merge.timer = time.AfterFunc(toolWindow, func() { f.locked(f.merge.expire) })
	f.patience = time.AfterFunc(resultPatience, func() { f.locked(f.expire) })
	return f
}

func (f *feed) locked(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

// event takes the next frame of the harness's event stream.
func (f *feed) event(fr frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.take(fr)
}

// log takes printed lines.
func (f *feed) log(lines string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.merge.flush()
	f.journal.add(logRecord(lines))
}

// begin says that a turn of a harness session runs.
func (f *feed) begin(session string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running[session]++
}

// awaitIdle waits for the idle event of a turn that was answered, for a while.
func (f *feed) awaitIdle(session string) {
	late := time.NewTimer(idlePatience)
	defer late.Stop()
	for {
		f.mu.Lock()
		here, held := f.backlog != nil && f.awaited == session, f.held
		f.mu.Unlock()
		if here {
			return
		}
		select {
		case <-held:
		case <-late.C:
			return
		}
	}
}

// finish takes the result of a turn that begin was told of.
func (f *feed) finish(session string, result sandbox.TurnResult) {
	if result.Status > 0 && result.Status < http.StatusBadRequest { // others may have no idle event
		f.awaitIdle(session)
	}
	r := resultRecord(result)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.journal.together(func() { f.end(session, r) })
}

// end writes the result of a turn, and its idle event if that is held back.
func (f *feed) end(session string, r record) {
	if f.running[session]--; f.running[session] <= 0 {
		delete(f.running, session)
	}
	f.merge.flush()
	f.journal.add(r)
	if f.backlog != nil && f.awaited == session {
		f.release()
		return
	}
	f.early[session] = true
}

// take passes a frame on or puts it into the backlog.
func (f *feed) take(fr frame) {
	idle := fr.kind == idleEvent
	switch {
	case f.backlog != nil:
		f.backlog = append(f.backlog, fr)
		if f.size += len(fr.raw); f.size > backlogLimit {
			f.release()
		}
		return
	case idle && f.running[fr.session] > 0 && !f.early[fr.session]:
		f.awaited, f.backlog, f.size = fr.session, []frame{fr}, len(fr.raw)
		f.until = time.Now().Add(resultPatience)
		f.patience.Reset(resultPatience)
		close(f.held)
		f.held = make(chan struct{})
		return
	case idle || fr.busy: // a turn without an idle event is over before another is busy
		delete(f.early, fr.session)
	}
	f.merge.take(fr)
}

// expire is release, unless the backlog is a later one than the timer was for.
func (f *feed) expire() {
	if f.backlog != nil && !time.Now().Before(f.until) {
		f.release()
	}
}

// release lets the backlog go. Another idle event in it may be held back again.
func (f *feed) release() {
	f.patience.Stop()
	backlog := f.backlog
	f.backlog = nil
	f.merge.take(backlog[0])
	for _, fr := range backlog[1:] {
		f.take(fr)
	}
}
