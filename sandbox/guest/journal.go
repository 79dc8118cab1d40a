//go:build linux

package guest

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"

	"lap/sandbox"
)

const (
	// journalLimit is how many bytes of events and logs may wait for the host. The newest
	// entry is kept at any size, so that a reader who keeps up misses nothing.
	journalLimit = 8 << 20
	// resultLimit is how many bytes of turn results may wait for the host beside the
	// newest, which can be as large. An older result above it loses its body but not its
	// place: the host learns how the turn ended and reads the answer from the thread.
	resultLimit = 64 << 20
	// recordCost is what a record takes beside its text.
	recordCost = 128
	// batchSize is about how much a reader is given at once.
	batchSize = 256 << 10
)

// A kind of record says what may happen to it when there are too many.
type kind int

const (
	kindOther  kind = iota
	kindDelta       // a piece of a part, worth nothing beside the part itself
	kindPart        // the whole of a part, worth nothing once there is a newer one
	kindResult      // never dropped
)

// A record is one entry of a journal, or a run of entries that were dropped.
type record struct {
	n    int64  // the last one's of a run
	lost int64  // how many entries a run has; 0: this is an entry
	text []byte // the entry's JSON from its second member on, with the newline; never changed
	kind kind
	part string              // what a kindPart is about
	turn *sandbox.TurnResult // of a kindResult, without body; nil when there is no body to lose
}

func (r *record) size() int { return len(r.text) + recordCost }

// A journal is what happened in a guest process, in order, until the host has it.
type journal struct {
	id          string // of the guest process
	limit       int    // journalLimit
	resultLimit int

	mu      sync.Mutex // guards the rest
	last    int64      // number of the newest entry
	gone    int64      // entries up to this one are forgotten
	records []record   // oldest first
	size    int        // bytes of records that are no results
	results int        // bytes of those that are
	reader  *reader    // nil: nobody reads
	corked  int64      // entries from this one on are not read yet, as more is to come with them; 0: all are
}

// newJournal returns an empty journal for a guest process with a new random id.
func newJournal() *journal {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	return &journal{id: hex.EncodeToString(id), limit: journalLimit, resultLimit: resultLimit}
}

// add gives r the next number and wakes the reader.
func (j *journal) add(r record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	r.n = j.last
	switch {
	case r.lost > 0:
		j.addLost(r)
	case r.kind == kindResult:
		j.records = append(j.records, r)
		j.results += r.size()
		j.shed()
	default:
		j.records = append(j.records, r)
		j.size += r.size()
		j.bound()
	}
	j.wake()
}

// wake wakes the reader, if there is one. j.mu is held.
func (j *journal) wake() {
	if j.reader != nil && j.corked == 0 {
		j.reader.wake()
	}
}

// together has the entries that fn adds read together.
func (j *journal) together(fn func()) {
	j.mu.Lock()
	j.corked = j.last + 1 // the first that fn adds; at least 1
	j.mu.Unlock()
	fn()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.corked = 0
	j.wake()
}

// addLost notes that entries are missing, in one record with such a note right before it.
func (j *journal) addLost(r record) {
	if k := len(j.records) - 1; k >= 0 && j.records[k].lost > 0 {
		r.lost += j.records[k].lost
		j.records = j.records[:k]
	}
	j.records = append(j.records, r)
}

// bound drops what is over the limit: first what the host would have thrown away itself,
// then the oldest. As that walks the whole journal, it makes room for more than one entry.
func (j *journal) bound() {
	if j.size <= j.limit {
		return
	}
	target := j.limit / 4 * 3
	newest := map[string]int64{} // by part
	for _, r := range j.records {
		if r.kind == kindPart {
			newest[r.part] = r.n
		}
	}
	j.drop(func(r *record) bool {
		return r.kind == kindDelta || (r.kind == kindPart && newest[r.part] > r.n)
	})
	j.drop(func(r *record) bool { return r.kind != kindResult && j.size > target })
}

// drop replaces the records that doomed picks by what was lost, one record for each
// run. The newest record stays.
func (j *journal) drop(doomed func(*record) bool) {
	kept := j.records[:0]
	for _, r := range j.records {
		if r.lost == 0 {
			if r.n == j.last || !doomed(&r) {
				kept = append(kept, r)
				continue
			}
			j.size -= r.size()
			r = record{n: r.n, lost: 1}
		}
		if k := len(kept) - 1; k >= 0 && kept[k].lost > 0 {
			r.lost += kept[k].lost
			kept[k] = r
			continue
		}
		kept = append(kept, r)
	}
	clear(j.records[len(kept):])
	j.records = kept
}

// shed takes the bodies of old results that are over the limit, newest first.
func (j *journal) shed() {
	if j.results <= j.resultLimit {
		return
	}
	kept := 0
	for i, r := range slices.Backward(j.records[:len(j.records)-1]) {
		if r.kind != kindResult {
			continue
		}
		if kept+r.size() > j.resultLimit && r.turn != nil {
			short := resultRecord(sandbox.TurnResult{
				ID: r.turn.ID, Status: r.turn.Status, Error: "the answer was dropped, because nobody read it: it is in the thread",
			})
			short.n, short.turn = r.n, nil
			j.results += short.size() - r.size()
			j.records[i], r = short, short
		}
		kept += r.size()
	}
}

// forget drops entries up to n for good: the host has them.
func (j *journal) forget(n int64) {
	j.gone = max(j.gone, min(n, j.last))
	have := 0
	for have < len(j.records) && j.records[have].n <= j.gone {
		switch r := &j.records[have]; {
		case r.lost > 0:
		case r.kind == kindResult:
			j.results -= r.size()
		default:
			j.size -= r.size()
		}
		have++
	}
	clear(j.records[:have])
	j.records = j.records[have:]
	if len(j.records) == 0 {
		j.records = nil // with the memory of the busy times
	}
}

// after returns copies of the records that follow entry n, about batchSize bytes of them.
func (j *journal) after(n int64) []record {
	j.mu.Lock()
	defer j.mu.Unlock()
	var batch []record
	if n < j.gone {
		batch = append(batch, record{n: j.gone, lost: j.gone - n})
		n = j.gone
	}
	from, _ := slices.BinarySearchFunc(j.records, n+1, func(r record, n int64) int { return int(r.n - n) })
	for size, i := 0, from; i < len(j.records) && size < batchSize && (j.corked == 0 || j.records[i].n < j.corked); i++ {
		r := j.records[i]
		if i == from {
			r.lost = min(r.lost, r.n-n) // the reader has the first ones of the run
		}
		batch = append(batch, r)
		size += r.size()
	}
	return batch
}
