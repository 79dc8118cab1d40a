package db

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
)

// outputPath is where a frame of a tool at work has what the tool has printed so far.
const outputPath = "properties.part.state.metadata.output"

// A quote stands in a row's pieces for an output that a later event holds the whole of:
// it is the first Take bytes, as they are written there, of the output of event Of.
type quote struct {
	Of   int64 `json:"of"`
	Take int   `json:"take"`
}

// parseQuote reads the pieces of a row; ok is false when they are those of packed deltas.
func parseQuote(pieces string) (q quote, ok bool, err error) {
	if !strings.HasPrefix(pieces, "{") {
		return q, false, nil
	}
	err = json.Unmarshal([]byte(pieces), &q)
	return q, true, err
}

// fill puts the quoted output into a body, from the body of the event that holds it.
func (q quote) fill(body, source string) (string, error) {
	gap, whole := gjson.Get(body, outputPath), gjson.Get(source, outputPath)
	if gap.Index == 0 || gap.Raw != `""` || whole.Index == 0 || len(whole.Raw) <= q.Take {
		return "", fmt.Errorf("what it quotes of event %d is not there", q.Of)
	}
	return body[:gap.Index] + whole.Raw[:q.Take] + `"` + body[gap.Index+len(gap.Raw):], nil
}

// packOutputs goes backwards, so that it knows what comes later.
func (s *Store) packOutputs(ctx context.Context, sessionID string, after, through int64) error {
	o := outputs{}
	for before := through + 1; ; {
		rows, err := s.r.query(ctx, `SELECT seq, body FROM events
			WHERE session_id = ? AND seq > ? AND seq < ? AND type = ? AND pieces IS NULL ORDER BY seq DESC LIMIT ?`,
			sessionID, after, before, partType, outputPage)
		n := 0
		var quotes []quoted
		_, err = collect(rows, err, func(r scanner) (struct{}, error) {
			e, err := scanLogged(r)
			n, before = n+1, e.seq
			if q, ok := o.quote(e); ok { // here, since a page of bodies may be large
				quotes = append(quotes, q)
			}
			return struct{}{}, err
		})
		if err != nil {
			return err
		}
		if err := s.saveQuotes(ctx, sessionID, quotes); err != nil || n < outputPage {
			return err
		}
	}
}

// A quoted is an event whose output is quoted from a later one.
type quoted struct {
	logged
	quote
}

func (s *Store) saveQuotes(ctx context.Context, sessionID string, quotes []quoted) error {
	if len(quotes) == 0 {
		return nil
	}
	return s.tx(ctx, func(t tx) error {
		for _, q := range quotes {
			pieces, err := json.Marshal(q.quote)
			if err != nil {
				return err
			}
			_, err = t.exec(ctx, `UPDATE events SET body = ?3, pieces = ?4 WHERE session_id = ?1 AND seq = ?2 AND pieces IS NULL`,
				sessionID, q.seq, q.body, string(pieces))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// outputs tells by the id of a tool's part what is known of it from later frames: which
// one holds an output, once one has said that the tool is done.
type outputs map[string]held

type held struct {
	seq int64
	raw string // a JSON string as it is written there, "" before one was seen
}

// quote returns a frame with its output quoted from a later one, if it can be.
func (o outputs) quote(e logged) (quoted, bool) {
	part := gjson.Get(e.body, "properties.part")
	id := part.Get("id").String()
	switch part.Get("state.status").String() {
	case "completed", "error":
		o[id] = held{}
		return quoted{}, false
	case "running":
	default:
		return quoted{}, false
	}
	text := gjson.Get(e.body, outputPath)
	later, over := o[id]
	if !over || text.Type != gjson.String || text.Index == 0 || text.Raw == `""` {
		return quoted{}, false
	}
	q := quoted{
		logged{e.seq, e.body[:text.Index] + `""` + e.body[text.Index+len(text.Raw):]},
		quote{Of: later.seq, Take: len(text.Raw) - 1},
	}
	if strings.HasPrefix(later.raw, text.Raw[:q.Take]) {
		if back, err := q.fill(q.body, `{"properties":{"part":{"state":{"metadata":{"output":`+later.raw+`}}}}}`); err == nil && back == e.body {
			return q, true
		}
	}
	o[id] = held{e.seq, strings.Clone(text.Raw)}
	return quoted{}, false
}
