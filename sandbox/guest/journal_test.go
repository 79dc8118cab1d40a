//go:build linux

package guest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"lap/sandbox"
)

// entries are what a reader that has entry after gets next.
func entries(t *testing.T, j *journal, after int64) []sandbox.Entry {
	t.Helper()
	var all []sandbox.Entry
	for {
		batch := j.after(after)
		if len(batch) == 0 {
			return all
		}
		var text bytes.Buffer
		if err := writeRecords(&text, batch); err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text.Bytes()) {
			var e sandbox.Entry
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			all = append(all, e)
		}
		after = batch[len(batch)-1].n
	}
}

// check fails unless entries follow after without a gap. It returns how many were lost.
func check(t *testing.T, all []sandbox.Entry, after int64) (lost int) {
	t.Helper()
	for _, e := range all {
		from := e.N
		if e.Lost > 0 {
			from -= int64(e.Lost) - 1
			lost += e.Lost
		}
		if from != after+1 {
			t.Fatalf("entry %d (lost %d) follows entry %d", e.N, e.Lost, after)
		}
		after = e.N
	}
	return lost
}

func event(t *testing.T, text string) frame {
	t.Helper()
	f, err := parseFrame([]byte(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return f
}

func TestJournalForgets(t *testing.T) {
	j := newJournal()
	for i := range 5 {
		j.add(logRecord(fmt.Sprintln(i)))
	}
	j.forget(3)
	if got := entries(t, j, 3); len(got) != 2 || check(t, got, 3) != 0 || got[0].Log != "3\n" {
		t.Errorf("entries after 3 = %+v", got)
	}
	if got := entries(t, j, 1); check(t, got, 1) != 2 {
		t.Errorf("entries after 1 = %+v", got)
	}
	if j.forget(9); j.gone != 5 || j.size != 0 || j.records != nil {
		t.Errorf("an empty journal is %+v", j)
	}
}

func TestJournalMarksJoin(t *testing.T) {
	j := newJournal()
	for range 3 {
		j.add(record{lost: 1})
	}
	j.add(logRecord("x\n"))
	if got := entries(t, j, 0); len(got) != 2 || check(t, got, 0) != 3 {
		t.Errorf("entries = %+v", got)
	}
	if got := entries(t, j, 2); len(got) != 2 || got[0].Lost != 1 {
		t.Errorf("entries after 2 = %+v", got)
	}
}

func TestJournalDropsWhatIsWorthLeastFirst(t *testing.T) {
	j := newJournal()
	j.limit = 1 << 20
	fill := strings.Repeat("x", 8<<10)
	j.add(resultRecord(sandbox.TurnResult{ID: "t1", Status: 200}))
	j.add(logRecord("first\n"))
	for i := range 200 { // 3 MiB of deltas and states, of which one state is the last
		j.add(eventRecord(event(t, `{"type":"message.part.delta","properties":{"partID":"p","delta":"`+fill+`"}}`)))
		j.add(eventRecord(event(t, fmt.Sprintf(`{"type":"message.part.updated","properties":{"part":{"id":"p","text":"%d%s"}}}`, i, fill))))
	}
	j.add(resultRecord(sandbox.TurnResult{ID: "t2", Status: 200}))
	got := entries(t, j, 0)
	if lost := check(t, got, 0); lost < 250 || j.size > j.limit {
		t.Errorf("%d lost, %d bytes", lost, j.size)
	}
	var turns, logs int
	for _, e := range got {
		if e.Turn != nil {
			turns++
		}
		if e.Log != "" {
			logs++
		}
	}
	if last := got[len(got)-2]; turns != 2 || logs != 1 || !bytes.Contains(last.Event, []byte(`"199x`)) {
		t.Errorf("%d turns, %d logs, last event %.80s", turns, logs, last.Event)
	}
	for range 2 * j.limit / len(fill) {
		j.add(logRecord(fill))
	}
	got = entries(t, j, 0)
	if check(t, got, 0); j.size > j.limit || got[0].Turn == nil || got[1].Lost == 0 || got[2].Turn == nil {
		t.Errorf("%d bytes, first entries %.300v", j.size, got[:3])
	}
	if got := entries(t, j, 100); check(t, got, 100) == 0 {
		t.Error("a reader in the middle of a run is not told")
	}
}

func TestJournalKeepsALargeNewestEntry(t *testing.T) {
	j := newJournal()
	j.limit = 1 << 20
	j.add(logRecord("a"))
	j.add(logRecord(strings.Repeat("x", 2*j.limit)))
	if got := entries(t, j, 0); len(got) != 2 || got[0].Lost != 1 || len(got[1].Log) != 2*j.limit {
		t.Errorf("%d entries", len(got))
	}
	j.add(logRecord("b"))
	if got := entries(t, j, 0); len(got) != 2 || got[0].Lost != 2 || got[1].Log != "b" {
		t.Errorf("%d entries", len(got))
	}
}

func TestJournalShedsBodiesOfOldResults(t *testing.T) {
	j := newJournal()
	j.resultLimit = 1 << 20
	body := []byte(`"` + strings.Repeat("x", j.resultLimit/3) + `"`)
	for i := range 6 {
		j.add(resultRecord(sandbox.TurnResult{ID: fmt.Sprint("t", i), Status: 200, Body: body}))
	}
	got := entries(t, j, 0)
	check(t, got, 0)
	for i, e := range got {
		whole := i >= 3 // the newest, and two thirds of the limit
		if e.Turn.ID != fmt.Sprint("t", i) || e.Turn.Status != 200 || (len(e.Turn.Body) > 0) != whole || (e.Turn.Error == "") != whole {
			t.Errorf("turn %d: body of %d bytes, error %q", i, len(e.Turn.Body), e.Turn.Error)
		}
	}
	sum := 0
	for _, r := range j.records {
		sum += r.size()
	}
	if j.results != sum {
		t.Errorf("results = %d, want %d", j.results, sum)
	}
	if j.forget(6); j.results != 0 {
		t.Errorf("results = %d after all are gone", j.results)
	}
}

func TestResultRecord(t *testing.T) {
	for body, want := range map[string]string{
		"":                  `{"n":1,"turn":{"id":"t","status":200}}`,
		"{\n \"a\": \"<\"}": `{"n":1,"turn":{"id":"t","status":200,"body":{"a":"<"}}}`,
		"plain <text>\n":    `{"n":1,"turn":{"id":"t","status":200,"body":"plain <text>\n"}}`,
		"\xff":              `{"n":1,"turn":{"id":"t","status":200,"body":"\ufffd"}}`,
	} {
		r := resultRecord(sandbox.TurnResult{ID: "t", Status: 200, Body: []byte(body)})
		r.n = 1
		var got bytes.Buffer
		if err := writeRecords(&got, []record{r}); err != nil || got.String() != want+"\n" {
			t.Errorf("%q: %s, want %s", body, got.String(), want)
		}
	}
}
