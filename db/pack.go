package db

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

const (
	deltaType = "message.part.delta"
	partType  = "message.part.updated"

	packedEvents = 4096    // at most in one row, and in one write
	packedText   = 1 << 20 // bytes of fillings, likewise
	packPage     = 1024    // deltas read at once
	outputPage   = 128     // other frames, likewise
)

// PackEvents makes what a session's log holds of finished work smaller, for events after
// the one with the first number through the one with the second. No event gets another
// number, and readers may be at work. It may be called again.
//
// Deltas of one part that follow each other are packed into one row. A frame of a tool at
// work, which holds its output so far, gives up what a later frame of it holds as well.
// All of them come out byte for byte as they went in.
func (s *Store) PackEvents(ctx context.Context, sessionID string, after, through int64) error {
	if err := s.packDeltas(ctx, sessionID, after, through); err != nil {
		return err
	}
	return s.packOutputs(ctx, sessionID, after, through)
}

// A frame is the body of an event with gaps, and what fills them. The gaps are the JSON
// strings that differ between deltas of one part: the frame's id, where it has one, and
// the delta.
type frame struct {
	around []string // the gaps lie between these
	fill   []string // JSON strings as they were written
}

// cutFrame finds the gaps of a body. A body that is no delta has none.
func cutFrame(body string) frame {
	delta := gjson.Get(body, "properties.delta")
	if delta.Type != gjson.String || delta.Index == 0 {
		return frame{around: []string{body}}
	}
	gaps := []gjson.Result{delta}
	if id := gjson.Get(body, "id"); id.Type == gjson.String && id.Index > 0 {
		gaps = append(gaps, id)
		if id.Index < delta.Index {
			gaps[0], gaps[1] = id, delta
		}
	}
	var f frame
	from := 0
	for _, gap := range gaps {
		f.around = append(f.around, body[from:gap.Index])
		f.fill = append(f.fill, gap.Raw)
		from = gap.Index + len(gap.Raw)
	}
	f.around = append(f.around, body[from:])
	return f
}

// join puts fillings into the gaps.
func (f frame) join(fill []string) string {
	size := 0
	for _, list := range [][]string{f.around, fill} {
		for _, text := range list {
			size += len(text)
		}
	}
	var b strings.Builder
	b.Grow(size)
	for i, text := range f.around {
		b.WriteString(text)
		if i < len(fill) {
			b.WriteString(fill[i])
		}
	}
	return b.String()
}

// unpack returns the bodies of a packed row from the one with the given index on, at
// most so many.
func unpack(template, pieces string, from, limit int) []string {
	f := cutFrame(template)
	n := len(f.fill)
	var (
		bodies []string
		fill   []string // of the next body
		read   int
	)
	gjson.Parse(pieces).ForEach(func(_, piece gjson.Result) bool {
		if read++; read > from*n {
			fill = append(fill, piece.Raw)
		}
		if n > 0 && len(fill) == n {
			bodies, fill = append(bodies, f.join(fill)), fill[:0]
		}
		return len(bodies) < limit
	})
	return bodies
}

// A run is some deltas that follow each other and differ only in their gaps.
type run struct {
	last   int64    // seq
	around []string // of each frame
	bodies []string
	fill   []string
	text   int // bytes in fill
}

// add takes an event in if it continues the run.
func (r *run) add(seq int64, body string) bool {
	f := cutFrame(body)
	if len(f.fill) == 0 {
		return false
	}
	text := 0
	for _, piece := range f.fill {
		text += len(piece)
	}
	if len(r.bodies) > 0 && (seq != r.last+1 || len(r.bodies) == packedEvents || r.text+text > packedText || !slices.Equal(f.around, r.around)) {
		return false
	}
	r.last, r.around, r.text = seq, f.around, r.text+text
	r.bodies, r.fill = append(r.bodies, body), append(r.fill, f.fill...)
	return true
}

// template is what the frames have in common, with empty strings in the gaps.
func (r *run) template() string { return strings.Join(r.around, `""`) }

func (r *run) pieces() string { return `[` + strings.Join(r.fill, `,`) + `]` }

// exact reports whether the run is worth a row and comes out of it as it went in.
func (r *run) exact() bool {
	if len(r.bodies) < 2 {
		return false
	}
	return slices.Equal(r.bodies, unpack(r.template(), r.pieces(), 0, len(r.bodies)))
}

// A packer gathers runs and writes them, so many in one transaction that others need not
// wait long.
type packer struct {
	store        *Store
	sessionID    string
	run          run
	runs         []run
	events, text int // in runs
}

func (s *Store) packDeltas(ctx context.Context, sessionID string, after, through int64) error {
	p := packer{store: s, sessionID: sessionID}
	for {
		page, err := s.deltas(ctx, sessionID, after, through)
		if err != nil {
			return err
		}
		for _, e := range page {
			after = e.seq
			if p.run.add(e.seq, e.body) {
				continue
			}
			if err := p.next(ctx); err != nil {
				return err
			}
			p.run.add(e.seq, e.body)
		}
		if len(page) < packPage {
			break
		}
	}
	if err := p.next(ctx); err != nil {
		return err
	}
	return p.flush(ctx)
}

// next ends the current run.
func (p *packer) next(ctx context.Context) error {
	r := p.run
	p.run = run{}
	if !r.exact() {
		return nil
	}
	if p.events+len(r.bodies) > packedEvents || p.text+r.text > packedText {
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	p.runs, p.events, p.text = append(p.runs, r), p.events+len(r.bodies), p.text+r.text
	return nil
}

// flush writes the gathered runs. Rows that another call has packed, or that are gone,
// are left alone.
func (p *packer) flush(ctx context.Context) error {
	runs := p.runs
	p.runs, p.events, p.text = nil, 0, 0
	if len(runs) == 0 {
		return nil
	}
	err := p.store.tx(ctx, func(t tx) error {
		for _, r := range runs {
			if err := t.packRun(ctx, p.sessionID, r); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, ErrStale) {
		return nil
	}
	return err
}

func (t tx) packRun(ctx context.Context, sessionID string, r run) error {
	length := int64(len(r.bodies))
	n, err := t.changed(ctx, `DELETE FROM events WHERE session_id = ?1 AND seq > ?2 AND seq < ?3 AND pieces IS NULL`,
		sessionID, r.last-length, r.last)
	if err != nil {
		return err
	}
	if n != length-1 {
		return ErrStale
	}
	return t.mustChange(ctx, ErrStale, `UPDATE events SET length = ?3, body = ?4, pieces = ?5
		WHERE session_id = ?1 AND seq = ?2 AND pieces IS NULL`, sessionID, r.last, length, r.template(), r.pieces())
}

// A logged is the body of an event that has a row of its own.
type logged struct {
	seq  int64
	body string
}

func scanLogged(r scanner) (e logged, err error) { return e, r.Scan(&e.seq, &e.body) }

// deltas reads a page of deltas that are not packed.
func (s *Store) deltas(ctx context.Context, sessionID string, after, through int64) ([]logged, error) {
	rows, err := s.r.query(ctx, `SELECT seq, body FROM events
		WHERE session_id = ? AND seq > ? AND seq <= ? AND type = ? AND pieces IS NULL ORDER BY seq LIMIT ?`,
		sessionID, after, through, deltaType, packPage)
	return collect(rows, err, scanLogged)
}
