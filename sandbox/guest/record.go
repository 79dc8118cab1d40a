//go:build linux

package guest

import (
	"bytes"
	"encoding/json"

	"lap/sandbox"
)

// eventRecord is the record of a frame of the harness's event stream.
func eventRecord(f frame) record {
	if f.lost {
		return record{lost: 1}
	}
	r := record{text: make([]byte, 0, len(f.raw)+len("\"event\":}\n"))}
	r.text = append(append(append(r.text, `"event":`...), f.raw...), "}\n"...)
	switch f.kind {
	case deltaEvent:
		r.kind = kindDelta
	case partEvent:
		r.kind, r.part = kindPart, f.part
	}
	return r
}

// logRecord is the record of printed lines.
func logRecord(lines string) record {
	text := append([]byte(`"log":`), encodeText(lines)...)
	return record{text: append(text, "}\n"...)}
}

// resultRecord is the record of how a turn ended. A body that is no JSON becomes a
// JSON string.
func resultRecord(t sandbox.TurnResult) record {
	body := t.Body
	t.Body = nil
	head, err := json.Marshal(t)
	if err != nil {
		head = []byte("{}") // a struct of texts and a number always encodes
	}
	var text bytes.Buffer
	text.Grow(len(head) + len(body) + len(`"turn":,"body":}`) + 2)
	text.WriteString(`"turn":`)
	text.Write(head)
	if len(bytes.TrimSpace(body)) > 0 {
		text.Truncate(text.Len() - len("}"))
		text.WriteString(`,"body":`)
		if json.Compact(&text, body) != nil { // which takes back what it wrote
			text.Write(encodeText(string(body)))
		}
		text.WriteByte('}')
	}
	text.WriteString("}\n")
	return record{text: text.Bytes(), kind: kindResult, turn: &t}
}

// encodeText is s as a JSON string, without escapes for HTML, which would blow it up.
func encodeText(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // strings always encode
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
