package db_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lap/db"
)

func delta(body string) db.NewEvent {
	return db.NewEvent{Type: "message.part.delta", Body: json.RawMessage(body)}
}

// deltas are those of one part, as lap's own agent makes them.
func deltas(texts ...string) []db.NewEvent {
	list := make([]db.NewEvent, len(texts))
	for i, text := range texts {
		list[i] = delta(fmt.Sprintf(
			`{"id":"evt_%d","type":"message.part.delta","properties":{"sessionID":"s","messageID":"m","partID":"p","field":"text","delta":%q}}`, i, text))
	}
	return list
}

// toolFrame is what a tool says while it works, or when it is done.
func toolFrame(part, status, output string) db.NewEvent {
	return db.NewEvent{Type: "message.part.updated", Body: json.RawMessage(fmt.Sprintf(
		`{"type":"message.part.updated","properties":{"sessionID":"s","part":{"id":%q,"type":"tool","state":{"status":%q,"metadata":{"output":%q,"more":1},"title":"t"}},"time":7}}`,
		part, status, output))}
}

// pack packs a whole log and returns how many rows it has then.
func pack(t *testing.T, s *db.Store, id string) int {
	t.Helper()
	if err := s.PackEvents(t.Context(), id, 0, 1<<40); err != nil {
		t.Fatal(err)
	}
	return rowCount(t, s, id)
}

func rowCount(t *testing.T, s *db.Store, id string) int {
	t.Helper()
	rows, err := s.Lines(t.Context(), `SELECT seq FROM events WHERE session_id = '`+id+`'`)
	if err != nil {
		t.Fatal(err)
	}
	return len(rows)
}

// sameEvents compares bodies as a whole, since byte by byte takes minutes.
var sameEvents = cmp.Options{
	cmpopts.IgnoreFields(db.Event{}, "At"),
	cmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }),
}

func TestPacking(t *testing.T) {
	ids := func(n int) []db.NewEvent {
		var list []db.NewEvent
		for i := range n {
			list = append(list, delta(fmt.Sprintf(`{"properties":{"delta":"%d","partID":"p"},"id":"evt_%d"}`, i%3, i)))
		}
		return list
	}
	many := make([]string, 5000)
	tests := []struct {
		name string
		log  []db.NewEvent
		rows int
	}{
		{"one part", deltas("a", "b", "c"), 1},
		{"one delta", deltas("a"), 1},
		{"something between", append(append(deltas("a", "b"), events("x")...), deltas("c", "d")...), 3},
		{"two parts", append(deltas("a", "b"), delta(`{"type":"message.part.delta","properties":{"partID":"q","delta":"c"}}`)), 2},
		{"delta first, id last", ids(7), 1},
		{"no id", []db.NewEvent{delta(`{"properties":{"delta":"x"}}`), delta(`{"properties":{"delta":"\u0041\n\ud83d\ude00 😀 \\\""}}`)}, 1},
		{"an id that is no string", []db.NewEvent{delta(`{"id":1,"properties":{"delta":"x"}}`), delta(`{"id":2,"properties":{"delta":"x"}}`)}, 2},
		{"an id and none", []db.NewEvent{delta(`{"id":"1","properties":{"delta":"x"}}`), delta(`{"properties":{"delta":"x"}}`)}, 2},
		{"another order", []db.NewEvent{delta(`{"properties":{"delta":"x","a":1}}`), delta(`{"properties":{"a":1,"delta":"x"}}`)}, 2},
		{"a member twice", []db.NewEvent{delta(`{"properties":{"delta":"x","delta":"y"}}`), delta(`{"properties":{"delta":"z","delta":"y"}}`)}, 1},
		{"the same text elsewhere", []db.NewEvent{delta(`{"a":"x","properties":{"b":"x","delta":"x"}}`), delta(`{"a":"x","properties":{"b":"x","delta":"y"}}`)}, 1},
		{"a delta inside a delta", []db.NewEvent{delta(`{"x":{"properties":{"delta":"1"}},"properties":{"delta":"{\"properties\":{\"delta\":\"a\"}}"}}`), delta(`{"x":{"properties":{"delta":"1"}},"properties":{"delta":""}}`)}, 1},
		{"blanks", []db.NewEvent{delta(`{ "properties" : { "delta" : "x" } }`), delta(`{ "properties" : { "delta" : "y" } }`)}, 1},
		{"no delta at all", []db.NewEvent{delta(`{}`), delta(`{}`), delta(`[]`), delta(`"x"`), delta(`{"properties":{"delta":1}}`)}, 5},
		{"no JSON", []db.NewEvent{delta(`{"properties":{"delta":"x"`), delta(`{"properties":{"delta":"x"`), delta(``), delta(`{"properties":{"delta":"`)}, 4},
		{"of another type", []db.NewEvent{{Type: "x", Body: deltas("a")[0].Body}, {Type: "x", Body: deltas("a")[0].Body}}, 2},
		{"a long run", deltas(many...), 2},
		{"much text", deltas(strings.Repeat("a", 700<<10), "b", strings.Repeat("c", 700<<10), "d"), 2},
		{"too much text", deltas(strings.Repeat("a", 3<<20), strings.Repeat("b", 3<<20)), 2},
	}
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			session := newReadySession(t, s, agent.ID)
			appendTo(t, s, session, tt.log...)
			before := allEvents(t, s, session.ID)
			for range 2 {
				rows := pack(t, s, session.ID)
				if diff := cmp.Diff(before, allEvents(t, s, session.ID), sameEvents); diff != "" {
					t.Fatalf("%.2000s", diff)
				}
				// Bodies that gjson reads though they are no JSON may be packed or not.
				if rows != tt.rows && tt.name != "no JSON" {
					t.Errorf("%d rows, want %d", rows, tt.rows)
				}
			}
		})
	}
}

func TestPackingKeepsToItsRange(t *testing.T) {
	s := openStore(t, config(t))
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	appendTo(t, s, session, deltas("1", "2", "3", "4", "5", "6", "7", "8")...)
	before := allEvents(t, s, session.ID)
	for _, step := range []struct {
		after, through int64
		rows           int
	}{{2, 5, 6}, {3, 4, 6}, {0, 4, 5}, {0, 100, 3}, {9, 5, 3}} {
		if err := s.PackEvents(t.Context(), session.ID, step.after, step.through); err != nil {
			t.Fatal(err)
		}
		if got := rowCount(t, s, session.ID); got != step.rows {
			t.Errorf("%d rows after (%d, %d], want %d", got, step.after, step.through, step.rows)
		}
		if diff := cmp.Diff(before, allEvents(t, s, session.ID), sameEvents); diff != "" {
			t.Fatal(diff)
		}
	}
	if got := appendTo(t, s, session, deltas("9")...); got != 9 {
		t.Errorf("the next event has number %d, want 9", got)
	}
	if err := s.PackEvents(t.Context(), "nobody", 0, 9); err != nil {
		t.Errorf("of nobody: %v", err)
	}
}

func TestOutputsAreQuoted(t *testing.T) {
	text := db.NewEvent{Type: "message.part.updated", Body: json.RawMessage(`{"properties":{"part":{"id":"t","type":"text","text":"x"}}}`)}
	running, done := func(output string) db.NewEvent { return toolFrame("t", "running", output) }, toolFrame("t", "completed", "abc")
	tests := []struct {
		name   string
		log    []db.NewEvent
		quotes int // rows that hold less afterwards
	}{
		{"done", []db.NewEvent{toolFrame("t", "pending", "x"), running("a"), running("ab"), running("abc"), done, text}, 2},
		{"at work", []db.NewEvent{running("a"), running("ab")}, 0},
		{"failed", []db.NewEvent{running("a"), running("ab"), toolFrame("t", "error", "")}, 1},
		{"two at once", []db.NewEvent{running("a"), toolFrame("u", "running", "x"), running("ab"), toolFrame("u", "running", "xy"), done}, 1},
		{"shown once", []db.NewEvent{running(""), running("a"), running(""), done}, 0},
		{"not a beginning", []db.NewEvent{running("a"), running("b"), running("bc"), running("x"), done}, 1},
		{"escapes", []db.NewEvent{running(`\\`), running(`\\n`), running(`\\n\n"`), done}, 2},
	}
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			session := newReadySession(t, s, agent.ID)
			appendTo(t, s, session, tt.log...)
			for range 2 {
				pack(t, s, session.ID)
				sameLog(t, s, session.ID, tt.log)
			}
			if n := packedRows(t, s, session.ID); n != tt.quotes {
				t.Errorf("%d rows are packed, want %d", n, tt.quotes)
			}
		})
	}
}

func TestManyOutputsAreQuoted(t *testing.T) {
	s := openStore(t, config(t))
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	var log []db.NewEvent
	for n := range 700 { // several pages
		log = append(log, toolFrame("t", "running", strings.Repeat("x", n+1)))
	}
	log = append(log, toolFrame("t", "completed", "x"))
	appendTo(t, s, session, log...)
	pack(t, s, session.ID)
	sameLog(t, s, session.ID, log)
	if n := packedRows(t, s, session.ID); n != 699 {
		t.Errorf("%d rows are packed, want 699", n)
	}
}

// packedRows is how many rows of a log are packed.
func packedRows(t *testing.T, s *db.Store, id string) int {
	t.Helper()
	lines, err := s.Lines(t.Context(), `SELECT count(*) FROM events WHERE pieces IS NOT NULL AND session_id = '`+id+`'`)
	if err != nil || len(lines) != 1 {
		t.Fatal(lines, err)
	}
	n, err := strconv.Atoi(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sameLog fails the test unless a session's log is as given.
func sameLog(t *testing.T, s *db.Store, sessionID string, want []db.NewEvent) {
	t.Helper()
	got := allEvents(t, s, sessionID)
	checkSeqs(t, got, len(want))
	for i, w := range want {
		if string(got[i].Body) != string(w.Body) {
			t.Fatalf("event %d = %s, want %s", i+1, got[i].Body, w.Body)
		}
	}
}

// randomLog is a log of all kinds of events.
func randomLog(r *rand.Rand, size int) []db.NewEvent {
	texts := []string{"", "a", "the tool ", `\"`, `\\`, `\u0000`, "ü😀", `\ud83d\ude00`, `{\"delta\":\"x\"}`, strings.Repeat("long ", 50)}
	forms := []string{
		`{"type":"message.part.delta","properties":{"sessionID":"s","partID":"p%[1]d","field":"text","delta":"%[2]s"}}`,
		`{"id":"evt_%[3]d","type":"message.part.delta","properties":{"partID":"p%[1]d","delta":"%[2]s","field":"text"}}`,
		`{"properties":{"delta":"%[2]s","x":[%[1]d,{"delta":"y"}]},"id":"%[3]d"}`,
		`{"properties":{"delta":%[3]d}}`,
	}
	var log []db.NewEvent
	for len(log) < size {
		form, part := forms[r.IntN(len(forms))], r.IntN(2)
		for range r.IntN(12) {
			log = append(log, delta(fmt.Sprintf(form, part, texts[r.IntN(len(texts))], r.IntN(1000))))
		}
		if r.IntN(2) == 0 {
			log = append(log, events(texts[r.IntN(3)])...)
		}
		output := ""
		for range r.IntN(6) {
			output += texts[r.IntN(len(texts))]
			log = append(log, toolFrame(strconv.Itoa(r.IntN(2)), "running", output))
		}
		if r.IntN(2) == 0 {
			log = append(log, toolFrame(strconv.Itoa(r.IntN(2)), "completed", output))
		}
	}
	return log
}

func TestPackedLogsReadTheSame(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	for round := range 6 {
		r := rand.New(rand.NewPCG(1, uint64(round)))
		session := newReadySession(t, s, agent.ID)
		log := randomLog(r, 60+r.IntN(60))
		appendTo(t, s, session, log...)
		want := allEvents(t, s, session.ID)
		if len(want) != len(log) {
			t.Fatalf("%d events of %d", len(want), len(log))
		}
		for _, e := range want {
			if string(e.Body) != string(log[e.Seq-1].Body) {
				t.Fatalf("event %d = %s, want %s", e.Seq, e.Body, log[e.Seq-1].Body)
			}
		}
		after := int64(r.IntN(len(log)))
		if err := s.PackEvents(t.Context(), session.ID, after, after+int64(r.IntN(len(log)))); err != nil {
			t.Fatal(err)
		}
		checkReads(t, s, session.ID, want, r)
		if rows := pack(t, s, session.ID); rows >= len(log) {
			t.Errorf("%d rows of %d events: nothing was packed", rows, len(log))
		}
		checkReads(t, s, session.ID, want, r)
	}
}

// checkReads reads a log from every place on, in pieces of random size.
func checkReads(t *testing.T, s *db.Store, id string, want []db.Event, r *rand.Rand) {
	t.Helper()
	for after := range int64(len(want)) + 1 {
		limit := r.IntN(20) + 1
		got, err := s.Events(t.Context(), id, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		part := want[after:min(len(want), int(after)+limit)]
		if diff := cmp.Diff(part, got, sameEvents, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("after %d, at most %d: %s", after, limit, diff)
		}
	}
}

func TestReadingWhilePacking(t *testing.T) {
	s := openStore(t, config(t))
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	log := randomLog(rand.New(rand.NewPCG(2, 2)), 1000)
	var done atomic.Bool
	var writers, others sync.WaitGroup
	writers.Go(func() {
		for at := 0; at < len(log); at += 20 {
			part := log[at:min(len(log), at+20)]
			last, err := s.Append(t.Context(), db.Batch{SessionID: session.ID, Generation: 1, Events: part})
			if err != nil || last != int64(at+len(part)) {
				t.Errorf("last = %d, %v", last, err)
			}
		}
	})
	for range 2 {
		others.Go(func() {
			for !done.Load() { // both pack everything, again and again
				if err := s.PackEvents(t.Context(), session.ID, 0, 1<<40); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for size := range 2 {
		writers.Go(func() {
			for seq := int64(0); seq < int64(len(log)) && !t.Failed(); {
				list, err := s.Events(t.Context(), session.ID, seq, size*30+7)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range list {
					if seq++; e.Seq != seq || string(e.Body) != string(log[seq-1].Body) {
						t.Errorf("event %d = %d %s, want %s", seq, e.Seq, e.Body, log[seq-1].Body)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	others.Wait()
	pack(t, s, session.ID)
	checkSeqs(t, allEvents(t, s, session.ID), len(log))
}

// FuzzPacking packs two deltas of any form.
func FuzzPacking(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"properties":{"delta":"a"}}`, `{"properties":{"delta":"b"}}`},
		{`{"id":"1","properties":{"delta":"a"}}`, `{"id":"2","properties":{"delta":"\u0061"}}`},
		{`{"properties":{"delta":"a","delta":"b"}}`, `{"properties.delta":"a"}`},
		{`{"properties":{"delta":"a`, `{"properties":{"delta":"a`},
		{`{"properties":[{"delta":"a"}]}`, `"`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		db.CheckPacking(t, a, b)
	})
}
