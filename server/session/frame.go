package session

import (
	"bytes"
	"encoding/json"
	"fmt"

	"lap/db"
)

// maxEvent bounds one event of a harness, in bytes.
const maxEvent = 16 << 20

// readEvent makes an entry of the log from a frame of a harness's event stream. ok is
// false for frames that are none, or belong to no session, or to another of the harness's
// own: what comes out of a sandbox may be anything.
func readEvent(frame json.RawMessage, harnessSession string) (ev telling, entry db.NewEvent, ok bool) {
	if len(frame) > maxEvent || json.Unmarshal(frame, &ev) != nil || ev.Type == "" || ev.Properties.SessionID != harnessSession {
		return ev, entry, false
	}
	var err error
	switch ev.Type {
	case "message.part.delta":
		frame, err = plainDelta(ev)
	case "message.part.updated":
		frame, ev.Properties.Part, err = plainPart(frame, ev.Properties.Part)
	}
	if err == nil && bytes.ContainsAny(frame, "\r\n") { // it is to be one line
		var line bytes.Buffer
		err = json.Compact(&line, frame)
		frame = line.Bytes()
	}
	return ev, db.NewEvent{Type: ev.Type, Body: frame}, err == nil
}

// plainDelta writes a delta with nothing that differs from one to the next but the delta
// itself, so that a run of them can be packed.
func plainDelta(ev telling) (json.RawMessage, error) {
	type properties struct {
		SessionID string `json:"sessionID"`
		MessageID string `json:"messageID"`
		PartID    string `json:"partID"`
		Field     string `json:"field"`
		Delta     string `json:"delta"`
	}
	p := ev.Properties
	return encode(struct {
		Type       string     `json:"type"`
		Properties properties `json:"properties"`
	}{ev.Type, properties{p.SessionID, p.MessageID, p.PartID, p.Field, p.Delta}})
}

// plainPart takes the bytes of an image out of a part and its frame: they are not
// written to the database.
func plainPart(frame, part json.RawMessage) (json.RawMessage, json.RawMessage, error) {
	switch field(part, "type") {
	case "image", "file":
	default:
		return frame, part, nil
	}
	var p map[string]any
	if err := json.Unmarshal(part, &p); err != nil || !stripImage(p) {
		return frame, part, err
	}
	stripped, err := encode(p)
	if err != nil {
		return nil, nil, err
	}
	var members, properties map[string]json.RawMessage
	if err := json.Unmarshal(frame, &members); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(members["properties"], &properties); err != nil {
		return nil, nil, fmt.Errorf("properties: %w", err)
	}
	properties["part"] = stripped
	if members["properties"], err = encode(properties); err != nil {
		return nil, nil, err
	}
	frame, err = encode(members)
	return frame, stripped, err
}
