package session

import (
	"context"
	"sync"
	"time"

	"lap/db"
)

// progress writes the phases of one bring-up to its row. Writing is best effort and
// off the bring-up's path: a phase that is overtaken before it was written is skipped.
type progress struct {
	next  chan phase
	done  chan struct{}
	close sync.Once
	stall *time.Timer // fires when nothing was heard for too long
	limit time.Duration
}

type phase struct{ name, detail string }

func startProgress(ctx context.Context, store *db.Store, s db.Session, limit time.Duration, stalled func()) *progress {
	p := &progress{next: make(chan phase, 1), done: make(chan struct{}), stall: time.AfterFunc(limit, stalled), limit: limit}
	go func() {
		defer close(p.done)
		for ph := range p.next {
			_ = store.SetPhase(ctx, s.ID, s.Generation, ph.name, ph.detail) // best effort
		}
	}()
	return p
}

// set notes a phase. It must not be called after, or at the same time as, stop.
func (p *progress) set(name, detail string) {
	p.stall.Reset(p.limit)
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
	})
	<-p.done
}
