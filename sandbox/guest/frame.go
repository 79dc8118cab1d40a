//go:build linux

package guest

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// Types of events that the guest looks into.
const (
	deltaEvent     = "message.part.delta"
	partEvent      = "message.part.updated"
	idleEvent      = "session.idle"
	statusEvent    = "session.status"
	connectedEvent = "server.connected"
	heartbeatEvent = "server.heartbeat"
)

// errNoEvent says that a frame is no JSON object with a type.
var errNoEvent = errors.New("not an event")

// A frame is one event of the harness, or the mark of a place where some are missing.
type frame struct {
	raw     []byte // its JSON, on one line
	kind    string
	session string
	part    string // its id, of a partEvent
	busy    bool   // a statusEvent that says so
	lost    bool   // a mark; nothing else is set

	// Frames in a row with the same key, if they have one, can become one.
	key    string
	window time.Duration // how long one may wait for the next
	delta  []byte        // of a deltaEvent: what is between the quotes of the JSON string
	at     int           // where in raw it begins
	had    int           // how much of it is in raw
}

// parseFrame reads what the guest must know of a frame.
func parseFrame(data []byte) (frame, error) {
	var v struct {
		Type       any
		Properties struct {
			SessionID, MessageID, PartID, Field string
			Delta                               json.RawMessage
			Part                                struct {
				ID, Type string
				State    struct{ Status string }
			}
			Status struct{ Type string }
		}
	}
	err := json.Unmarshal(data, &v)
	name, named := v.Type.(string)
	if _, odd := errors.AsType[*json.UnmarshalTypeError](err); (err != nil && !odd) || !named {
		return frame{}, errNoEvent // another type's property may be of another kind
	}
	p := &v.Properties
	f := frame{raw: oneLine(data), kind: name, session: p.SessionID, part: p.Part.ID}
	switch {
	case f.kind == statusEvent:
		f.busy = p.Status.Type == "busy"
	case f.kind == deltaEvent && len(p.Delta) > 1 && p.Delta[0] == '"':
		f.mergeDelta(deltaEvent+"\x00"+p.SessionID+"\x00"+p.MessageID+"\x00"+p.PartID+"\x00"+p.Field, p.Delta)
	case f.kind == partEvent && p.Part.Type == "tool" && p.Part.State.Status == "running":
		f.key, f.window = partEvent+"\x00"+p.Part.ID, toolWindow
	}
	return f, nil
}

// oneLine is valid JSON without line breaks, in UTF-8.
func oneLine(data []byte) []byte {
	if bytes.ContainsAny(data, "\r\n") {
		var b bytes.Buffer
		_ = json.Compact(&b, data) // it is valid
		data = b.Bytes()
	}
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	return data
}

// mergeDelta makes f one that can be merged. literal is its delta, in quotes. Deltas are
// merged in their JSON form: a character may be cut in two escapes.
func (f *frame) mergeDelta(key string, literal []byte) {
	found := gjson.GetBytes(f.raw, "properties.delta")
	if found.Index == 0 || found.Raw != string(literal) {
		return // named twice, or not quite UTF-8
	}
	f.key, f.window = key, deltaWindow
	f.at, f.had = found.Index+1, len(literal)-2
	f.delta = f.raw[f.at : f.at+f.had : f.at+f.had] // so that append does not write into raw
}

// absorb takes the next frame with the same key into f. False means that it does not fit.
func (f *frame) absorb(next frame) bool {
	if next.delta == nil {
		*f = next
		return true
	}
	if len(f.delta)+len(next.delta) > maxDelta {
		return false
	}
	f.delta = append(f.delta, next.delta...)
	return true
}

// settle writes what f has absorbed into its JSON.
func (f *frame) settle() {
	if len(f.delta) == f.had {
		return
	}
	raw := make([]byte, 0, len(f.raw)+len(f.delta)-f.had)
	raw = append(append(append(raw, f.raw[:f.at]...), f.delta...), f.raw[f.at+f.had:]...)
	f.raw, f.had = raw, len(f.delta)
}
