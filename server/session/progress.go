package session

import (
	"context"
	"encoding/json"
	"math"
	"sync"
	"time"

	"lap/clock"
	"lap/db"
)

// writeEvery is the least time between two writes of details, of which a sandbox may tell
// as many as it likes.
const writeEvery = 100 * time.Millisecond

// progress writes the phases of one bring-up to its row and takes their times. Writing is
// best effort and off the bring-up's path: a phase that is overtaken before it was
// written is skipped.
type progress struct {
	next  chan phase
	over  chan struct{} // closed when no phase is to come
	done  chan struct{}
	close sync.Once
	stall *clock.Timer // fires when nothing was heard for too long
	limit time.Duration
	began time.Time
	spans []span
}

type phase struct{ name, detail string }

// A span is when a phase began.
type span struct {
	phase string
	began time.Time
}

func startProgress(ctx context.Context, store *db.Store, c *clock.Clock, s db.Session, limit time.Duration, stalled func()) *progress {
	p := &progress{
		next: make(chan phase, 1), over: make(chan struct{}), done: make(chan struct{}),
		stall: c.AfterFunc(limit, stalled), limit: limit, began: time.Now(),
	}
	go func() {
		defer close(p.done)
		for ph := range p.next {
			_ = store.SetPhase(ctx, s.ID, s.Generation, ph.name, ph.detail, c.Now().Add(limit)) // best effort
			if ph.detail != "" {
				p.pause()
			}
		}
	}()
	return p
}

// pause waits for writeEvery, or until no phase is to come.
func (p *progress) pause() {
	timer := time.NewTimer(writeEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.over:
	}
}

// set notes a phase. It must not be called after, or at the same time as, stop.
func (p *progress) set(name, detail string) {
	p.stall.Reset(p.limit)
	if n := len(p.spans); n == 0 || p.spans[n-1].phase != name {
		p.spans = append(p.spans, span{name, time.Now()})
	}
	ph := phase{name, detail}
	select {
	case p.next <- ph:
	default: // the writer is behind: replace what it has not seen
		select {
		case <-p.next:
		default:
		}
		p.next <- ph // the only sender finds room
	}
}

// stop waits for the last write. It may be called twice.
func (p *progress) stop() {
	p.close.Do(func() {
		p.stall.Stop()
		close(p.next)
		close(p.over)
	})
	<-p.done
}

// times returns how long each phase took until now, and all of it as "total".
func (p *progress) times() map[string]time.Duration {
	now := time.Now()
	took := map[string]time.Duration{"total": now.Sub(p.began)}
	for i, s := range p.spans {
		end := now
		if i+1 < len(p.spans) {
			end = p.spans[i+1].began
		}
		took[s.phase] += end.Sub(s.began)
	}
	return took
}

// timings is times in milliseconds, as the session shows them.
func timings(times map[string]time.Duration) json.RawMessage {
	ms := make(map[string]float64, len(times))
	for name, d := range times {
		ms[name] = math.Round(float64(d)/float64(time.Millisecond)*100) / 100
	}
	b, err := json.Marshal(ms)
	if err != nil {
		panic(err) // finite numbers always encode
	}
	return b
}
