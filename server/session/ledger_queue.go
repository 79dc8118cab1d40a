package session

import (
	"unicode/utf8"

	"lap/db"
)

// What a sandbox says of itself is cut to so many bytes.
const (
	maxMethod = 32
	maxPath   = 1 << 10
	maxText   = 512
)

// maxQueued is how many bytes of one kind may wait of one session, about.
const maxQueued = 1 << 20

// A kind says how records are kept within bounds. What goes then counts as lost: trim
// keeps what the store would keep, and the numbers of the others.
type kind[T any] struct {
	kept int // by the store
	trim func([]T, int) []T
	size func(T) int
}

var (
	connectionsKind   = kind[db.Egress]{db.KeptEgress, db.TrimEgress, egressSize}
	interceptionsKind = kind[db.Interception]{db.KeptInterceptions, db.TrimInterceptions, interceptionSize}
)

// A queue has the records of one session that wait to be stored.
type queue[T any] struct {
	list  []T
	bytes int // of them, about
}

// add appends a record. It is trimmed well below the bounds, so that not every record
// of a flood moves all others.
func (q *queue[T]) add(k kind[T], one T) {
	q.list = append(q.list, one)
	q.bytes += k.size(one)
	if len(q.list) >= 2*k.kept {
		q.trim(k, k.kept)
	}
	for q.bytes > maxQueued && len(q.list) > 1 {
		q.trim(k, len(q.list)/2)
	}
}

func (q *queue[T]) trim(k kind[T], n int) {
	q.list, q.bytes = k.trim(q.list, n), 0
	for _, one := range q.list {
		q.bytes += k.size(one)
	}
}

// putBack puts records before those that have come since.
func (q *queue[T]) putBack(k kind[T], older queue[T]) {
	since := q.list
	*q = older
	for _, one := range since {
		q.add(k, one)
	}
}

const recordSize = 200 // without its texts

func egressSize(e db.Egress) int {
	return recordSize + len(e.Host) + len(e.Address) + len(e.Via) + len(e.Rule) + len(e.Reason)
}

func interceptionSize(i db.Interception) int {
	n := recordSize + len(i.Method) + len(i.Host) + len(i.Path) + len(i.Note)
	for _, s := range i.Swapped {
		n += len(s.Stub) + len(s.Name) + len(s.Tail)
	}
	for _, d := range i.Declined {
		n += len(d.Name) + len(d.Reason)
	}
	return n
}

// cut is the beginning of some text, at most n bytes, whole characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
