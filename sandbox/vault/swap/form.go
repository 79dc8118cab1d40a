package swap

import (
	"bytes"
	"net/url"
)

// maxField is the length of the longest field name that is looked at: the longest of
// secretFields with each of its bytes escaped.
const maxField = 3 * len("client_assertion")

// secretFields are the form fields in which OAuth clients send stored credentials. The
// client_id is no secret, but a token request whose id stayed a stub would fail. What a
// client makes or gets for one request is not here: code, code_verifier, state.
var secretFields = map[string]bool{
	"client_id":        true, // RFC 6749, 2.3.1
	"client_secret":    true,
	"password":         true, // RFC 6749, 4.3.2
	"refresh_token":    true, // RFC 6749, 6
	"token":            true, // RFC 7009, 2.1; RFC 7662, 2.1
	"assertion":        true, // RFC 7523, 2.1
	"client_assertion": true, // RFC 7523, 2.2
}

// A formReader follows an urlencoded form, in pieces of any size, to know in which field
// the next byte is.
type formReader struct {
	name  []byte // of the field, as far as it was read
	value bool   // whether the next byte is in a value
	fit   bool   // whether that is the value of one of secretFields
}

// see takes the next piece of the form.
func (f *formReader) see(b []byte) {
	for len(b) > 0 {
		if f.value {
			end := bytes.IndexByte(b, '&')
			if end < 0 {
				return
			}
			b = b[end+1:]
			f.value, f.fit, f.name = false, false, f.name[:0]
			continue
		}
		end := bytes.IndexAny(b, "=&")
		if end < 0 {
			f.add(b)
			return
		}
		f.add(b[:end])
		f.value = b[end] == '='
		f.fit = f.value && f.known()
		f.name = f.name[:0]
		b = b[end+1:]
	}
}

// add keeps one byte more than a name can have, to know that it is too long.
func (f *formReader) add(b []byte) {
	f.name = append(f.name, b[:min(len(b), maxField+1-len(f.name))]...)
}

func (f *formReader) known() bool {
	name, err := url.QueryUnescape(string(f.name))
	return err == nil && secretFields[name]
}

// secret reports whether the next byte is in a value that takes credentials.
func (f *formReader) secret() bool { return f.fit }
