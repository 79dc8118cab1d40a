package session

import (
	"context"

	"lap/db"
)

// pack makes the log of turns that have ended smaller, off everybody's path.
func (e *Engine) pack(l *live, ends []db.TurnEnd, through int64) {
	e.launch(func(ctx context.Context) {
		for _, end := range ends {
			t, err := e.cfg.Store.Turn(ctx, l.id, end.Seq)
			if err == nil && t.FirstEvent != nil {
				err = e.cfg.Store.PackEvents(ctx, l.id, *t.FirstEvent, through)
			}
			if err != nil && ctx.Err() == nil {
				e.cfg.Log.WarnContext(ctx, "events not packed", "session", l.id, "err", err)
			}
		}
	})
}
