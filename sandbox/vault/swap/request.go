package swap

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// maxGrowth bounds by how much URL and headers grow, since a few kilobytes of stubs can
// stand for many megabytes of values.
const maxGrowth = 256 << 10

var errGrowth = errors.New("with credentials in the place of stubs, URL and headers would be too long")

const reasonControl = "the value has a control character, which a header cannot carry"

// A swapping is what one request goes through.
type swapping struct {
	ledger
	keys   *Keys
	growth int
	err    error
}

// Request swaps in r, a request bound for http.Transport: in its URL, header values, HTTP
// Basic credentials, and where Bodies says so its body. It takes out what concerns only
// proxies, and what would make the answer unreadable. A body is streamed; the report, which
// can be asked for at any time, is complete when it has been read. Of bodies that may
// change, those up to 64 KiB are read before Request returns, unless r expects a 100, to
// keep their Content-Length; others lose it. The error is for who sent the request.
func (k *Keys) Request(r *http.Request) (func() Report, error) {
	for name := range r.Header {
		if strings.HasPrefix(name, "Proxy-") {
			delete(r.Header, name)
		}
	}
	if k.scrub != nil {
		if r.Header == nil {
			r.Header = http.Header{}
		}
		negotiate(r.Header)
	}
	s := &swapping{keys: k}
	if k.stubs == nil {
		return s.report, nil
	}
	s.url(r.URL)
	s.header(r.Header)
	if s.err != nil {
		return nil, s.err
	}
	if err := s.body(r); err != nil {
		return nil, err
	}
	return s.report, nil
}

// in returns s with stubs replaced by values as encode spells them. None is put in that
// fits refuses.
func (s *swapping) in(text string, encode func(string) string, fits func(string) bool) string {
	return s.keys.stubs.replace(text, func(id int) string {
		e := s.keys.entries[id]
		if e.bound && !fits(e.Value) {
			s.declined(e.Name, reasonControl)
			return e.Stub
		}
		value := s.put(id, encode)
		s.growth += max(0, len(value)-len(e.Stub))
		if s.growth > maxGrowth {
			s.err = errGrowth
			return e.Stub
		}
		return value
	})
}

// put returns what takes the place of the stub with id, and notes it.
func (s *swapping) put(id int, encode func(string) string) string {
	e := &s.keys.entries[id]
	if !e.bound {
		s.declined(e.Name, e.reason)
		return e.Stub
	}
	s.swapped(e.Credential)
	return encode(e.Value)
}

func anywhere(string) bool { return true }

// url swaps in userinfo, path and query. A value never brings a separator along: in a path
// it is one segment or a part of one.
func (s *swapping) url(u *url.URL) {
	if u.User != nil {
		name := s.in(u.User.Username(), asIs, anywhere)
		if word, ok := u.User.Password(); ok {
			u.User = url.UserPassword(name, s.in(word, asIs, anywhere))
		} else {
			u.User = url.User(name)
		}
	}
	u.Opaque = s.in(u.Opaque, url.PathEscape, anywhere)
	was := u.EscapedPath()
	if path := s.in(was, url.PathEscape, anywhere); path != was {
		// EscapedPath is what net/http writes. It is RawPath as long as that is a valid
		// encoding of Path.
		if plain, err := url.PathUnescape(path); err == nil {
			u.Path, u.RawPath = plain, path
		}
	}
	u.RawQuery = s.in(u.RawQuery, queryValue, anywhere)
}

func (s *swapping) header(h http.Header) {
	for _, values := range h {
		for i, v := range values {
			if out, ok := s.basic(v); ok {
				values[i] = out
				continue
			}
			values[i] = s.in(v, asIs, fitsHeader)
		}
	}
}

// basic swaps inside "Basic <base64>", and reports whether v is that. Of a v without stubs
// no byte changes.
func (s *swapping) basic(v string) (string, bool) {
	scheme, coded, ok := strings.Cut(v, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return "", false
	}
	coded = strings.TrimLeft(coded, " ")
	enc := base64.StdEncoding
	plain, err := enc.DecodeString(coded)
	if err != nil {
		enc = base64.RawStdEncoding
		if plain, err = enc.DecodeString(coded); err != nil {
			return "", false
		}
	}
	was := string(plain)
	out := s.in(was, asIs, anywhere)
	if out == was {
		return v, true
	}
	return v[:len(v)-len(coded)] + enc.EncodeToString([]byte(out)), true
}
