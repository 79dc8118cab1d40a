package swap

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
)

// maxWhole is the length of the longest body that is kept in memory so that its new length
// is known before it is sent on.
const maxWhole = 64 << 10

const maxName = 64 // bytes of a media type in a reason

const (
	reasonType  = "stubs are not replaced in bodies of this type (%s): see LAP_SWAP_BODIES"
	reasonField = "in forms, stubs are replaced only in the secret fields of OAuth: see LAP_SWAP_BODIES"
)

// A body is both what it reads from and what it closes.
type body struct {
	io.Reader
	io.Closer
}

// body makes r.Body swap while it is read. Binary and compressed bodies are left alone.
func (s *swapping) body(r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody || len(encodings(r.Header)) > 0 {
		return nil
	}
	kind, name := mediaOf(r.Header)
	if kind == binary {
		return nil
	}
	open := s.opener(kind, name)
	if !s.changes(kind) {
		r.Body = body{open(r.Body), r.Body}
		r.GetBody = nil
		return nil
	}
	if short(r.ContentLength) && r.Header.Get("Expect") == "" {
		return whole(r, open)
	}
	r.Body = body{open(r.Body), r.Body}
	r.GetBody = nil
	r.ContentLength = -1
	r.Header.Del("Content-Length")
	return nil
}

func short(length int64) bool { return 0 < length && length <= maxWhole }

// changes reports whether stubs in bodies of kind are replaced.
func (s *swapping) changes(kind media) bool {
	if !s.keys.bound {
		return false
	}
	return kind == form || s.keys.bodies == BodiesText && (kind == jsonish || kind == text)
}

// opener returns what makes the swapping reader of a body.
func (s *swapping) opener(kind media, name string) func(io.Reader) io.Reader {
	if !s.changes(kind) {
		return s.watch(name)
	}
	if s.keys.bodies == BodiesOAuth {
		return s.oauth
	}
	encode := asIs
	switch kind {
	case form:
		encode = url.QueryEscape
	case jsonish:
		encode = jsonText
	default: // as it is
	}
	return func(src io.Reader) io.Reader {
		return &replacer{src: src, m: s.keys.stubs, on: func(id int) string { return s.put(id, encode) }}
	}
}

// watch reports the stubs of a body that stays as it is. Nothing is held back for that.
func (s *swapping) watch(name string) func(io.Reader) io.Reader {
	if name == "" {
		name = "unknown"
	}
	reason := fmt.Sprintf(reasonType, name[:min(len(name), maxName)])
	return func(src io.Reader) io.Reader {
		return &replacer{src: src, m: s.keys.stubs, early: math.MaxInt, on: func(id int) string {
			return s.stay(id, reason)
		}}
	}
}

// oauth swaps in the secret fields of a form.
func (s *swapping) oauth(src io.Reader) io.Reader {
	fields := &formReader{}
	return &replacer{src: src, m: s.keys.stubs, see: fields.see, on: func(id int) string {
		if fields.secret() {
			return s.put(id, url.QueryEscape)
		}
		return s.stay(id, reasonField)
	}}
}

// stay notes a stub where none is replaced, and returns it.
func (s *swapping) stay(id int, reason string) string {
	e := &s.keys.entries[id]
	if !e.bound {
		reason = e.reason
	}
	s.declined(e.Name, reason)
	return e.Stub
}

// whole reads a short body, and sets r to its new length. What is sent is made again while
// it is read, since values can be a thousand times longer than their stubs.
func whole(r *http.Request, open func(io.Reader) io.Reader) error {
	was, err := io.ReadAll(io.LimitReader(r.Body, r.ContentLength+1))
	if err != nil {
		return fmt.Errorf("read the request's body: %w", err)
	}
	if int64(len(was)) != r.ContentLength {
		return fmt.Errorf("read the request's body: %w", io.ErrUnexpectedEOF)
	}
	length, _ := io.Copy(io.Discard, open(bytes.NewReader(was))) // neither side can fail
	r.Body = body{open(bytes.NewReader(was)), r.Body}
	r.GetBody = func() (io.ReadCloser, error) {
		return io.NopCloser(open(bytes.NewReader(was))), nil
	}
	r.ContentLength = length
	r.Header.Del("Content-Length")
	return nil
}
