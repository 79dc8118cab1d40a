package swap

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// maskEarly is how many bytes of what may be a value a masked stream does not hold back.
// The other side of it may wait for them: a terminal echoes single bytes, and most bytes
// begin some spelling of a value. What follows is masked all the same.
const maskEarly = 3

// A scrubber takes values out of answers.
type scrubber struct {
	m     *matcher
	texts []string // the patterns
	stubs []string // what takes the place of each pattern in text
	masks []string // and where lengths must not change
	lower []string // the values in lower case
}

// newScrubber returns the scrubber of those in list that are long enough, or nil.
func newScrubber(list []Credential) *scrubber {
	s := &scrubber{}
	add := func(text, stub, mask string) {
		s.texts = append(s.texts, text)
		s.stubs = append(s.stubs, stub)
		s.masks = append(s.masks, mask)
	}
	for _, c := range list {
		if len(c.Value) < shortest {
			continue
		}
		s.lower = append(s.lower, strings.ToLower(c.Value))
		for _, text := range spellings(c.Value) {
			add(text, c.Stub, mask(c.Stub, len(text)))
		}
		same := mask(c.Stub, len(c.Value))
		add(hex.EncodeToString([]byte(c.Value)), hex.EncodeToString([]byte(same)), hex.EncodeToString([]byte(same)))
		add(fmt.Sprintf("%X", c.Value), fmt.Sprintf("%X", same), fmt.Sprintf("%X", same))
		for lead := range 3 {
			for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				text := inner(enc, same, lead)
				add(inner(enc, c.Value, lead), text, text)
			}
		}
	}
	if s.m = newMatcher(s.texts); s.m == nil {
		return nil
	}
	return s
}

// mask returns stub cut or filled up to n bytes.
func mask(stub string, n int) string {
	if len(stub) >= n {
		return stub[:n]
	}
	return stub + strings.Repeat("*", n-len(stub))
}

// inText returns src with stubs in the place of values.
func (s *scrubber) inText(src io.Reader) io.Reader {
	return &replacer{src: src, m: s.m, on: func(id int) string { return s.stubs[id] }}
}

// masked returns src with values overwritten, and of the same length. Of early bytes it does
// not know whether they begin a value when it gives them out.
func (s *scrubber) masked(src io.Reader, early int) io.Reader {
	return &replacer{src: src, m: s.m, on: func(id int) string { return s.masks[id] }, early: early}
}

// framing are the headers that say where an answer ends and how to go on, in which a
// credential that is also a number or a media type must stay.
var framing = map[string]bool{
	"Connection": true, "Content-Encoding": true, "Content-Length": true, "Content-Range": true,
	"Content-Type": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

func (s *scrubber) header(h http.Header) {
	for name, values := range h {
		if s.inName(name) {
			delete(h, name)
			continue
		}
		for i, v := range values {
			if framing[name] {
				values[i] = s.frame(v)
			} else {
				values[i] = s.line(v)
			}
		}
	}
}

// inName reports whether a header's name, which comes in any case, has a value in it.
func (s *scrubber) inName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(s.lower, func(value string) bool { return strings.Contains(name, value) })
}

func (s *scrubber) line(v string) string {
	return s.m.replace(v, func(id int) string { return s.stubs[id] })
}

// ordinary is what one of the headers of framing can say of itself.
var ordinary = regexp.MustCompile(`^([0-9]+|(application|audio|font|image|multipart|text|video)/.*)$`)

// frame is line for one of the headers of framing. A host can be made to put there what it
// was sent: some that store files answer with the type that they were stored with.
func (s *scrubber) frame(v string) string {
	return s.m.replace(v, func(id int) string {
		if ordinary.MatchString(s.texts[id]) {
			return s.texts[id]
		}
		return s.stubs[id]
	})
}
