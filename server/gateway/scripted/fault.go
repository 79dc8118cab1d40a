package scripted

import (
	"net/http"
	"strconv"
	"unicode/utf8"
)

// fault is what goes wrong in the middle of an answer.
type fault struct {
	kind    faultKind
	after   int    // characters of the answer; bytes of a body that does not stream
	failure *Error // of faultError
}

type faultKind string

const (
	faultCut     faultKind = "cut"     // the connection breaks
	faultError   faultKind = "error"   // a stream ends with the wire's error
	faultJSON    faultKind = "json"    // an event, or the body, ends within its JSON
	faultFraming faultKind = "framing" // an event runs into the next
)

// writeBody answers a request that does not stream. A cut answer announces its whole
// length and breaks off; a malformed one is short.
func writeBody(w http.ResponseWriter, body []byte, f *fault) {
	sent := body
	if f != nil {
		sent = body[:min(f.after, len(body)-1)]
		if f.kind != faultCut {
			body = sent
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(sent) // a client that left needs no answer
	if len(sent) < len(body) {
		breakOff(w)
	}
}

// half is a piece of JSON that is none.
func half(json []byte) []byte {
	n := len(json) / 2
	for !utf8.RuneStart(json[n]) {
		n--
	}
	return json[:n]
}

// breakOff ends the connection as a crash of the model's server would. What was written
// reaches the client first.
func breakOff(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush() // the connection ends either way
	panic(http.ErrAbortHandler)
}
