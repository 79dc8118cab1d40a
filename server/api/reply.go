package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A stamp is a time on the wire: UTC with exactly three decimals.
type stamp time.Time

// MarshalJSON implements json.Marshaler.
func (s stamp) MarshalJSON() ([]byte, error) {
	return time.Time(s).UTC().AppendFormat(make([]byte, 0, 32), `"2006-01-02T15:04:05.000Z"`), nil
}

// nullStamp is t on the wire, where nil is null.
func nullStamp(t *time.Time) *stamp { return (*stamp)(t) }

// An encoder keeps its buffer from reply to reply.
type encoder struct {
	buffer bytes.Buffer
	json   *json.Encoder
}

func newEncoder() *encoder {
	e := &encoder{}
	e.json = json.NewEncoder(&e.buffer)
	e.json.SetEscapeHTML(false)
	return e
}

var encoders = sync.Pool{New: func() any { return newEncoder() }}

// largeReply is the size from which a buffer is not kept.
const largeReply = 1 << 20

// reply writes v as JSON. It returns an error only when it has written nothing.
func reply(w http.ResponseWriter, status int, v any) error {
	e := encoders.Get().(*encoder)
	text, err := e.encode(v)
	if err != nil {
		return err
	}
	writeJSON(w, status, text)
	if e.buffer.Cap() < largeReply {
		encoders.Put(e)
	}
	return nil
}

// encode returns v as reply writes it, until the next call.
func (e *encoder) encode(v any) ([]byte, error) {
	e.buffer.Reset()
	err := e.json.Encode(v)
	return bytes.TrimSuffix(e.buffer.Bytes(), []byte("\n")), err // which Encode adds
}

// writeJSON writes text that is JSON already.
func writeJSON(w http.ResponseWriter, status int, text []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client has gone
}

// noContent answers 204.
func noContent(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// filled is list, or an empty list for nil, which would become null.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
