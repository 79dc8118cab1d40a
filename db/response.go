package db

import (
	"encoding/json"
	"strings"
)

// responseLimit is how many bytes of parts a list shows of a session's response.
const responseLimit = 64 << 10

// shortResponse is what lists show of a long response: parts as long as they fit, the
// text of the first that does not as far as it fits. For a short one it is nil.
func shortResponse(raw json.RawMessage) *string {
	if len(raw) <= responseLimit {
		return nil
	}
	var whole struct {
		Info  json.RawMessage   `json:"info,omitempty"`
		Parts []json.RawMessage `json:"parts"`
	}
	if json.Unmarshal(raw, &whole) != nil || len(whole.Info) > responseLimit {
		whole.Info, whole.Parts = nil, nil // no reply of a harness: nothing to pick from
	}
	kept, left := []json.RawMessage{}, responseLimit
	for _, part := range whole.Parts {
		if len(part) > left {
			kept = append(kept, cutPart(part, left)...)
			break
		}
		kept, left = append(kept, part), left-len(part)
	}
	whole.Parts = kept
	short, err := json.Marshal(whole)
	if err != nil {
		panic(err) // parts come out of valid JSON
	}
	text := string(short)
	return &text
}

// cutPart returns a text part with at most n bytes of its text, nothing for others.
func cutPart(raw json.RawMessage, n int) []json.RawMessage {
	part := struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}{}
	if json.Unmarshal(raw, &part) != nil || part.Type != "text" { // not one that can be cut
		return nil
	}
	part.Text = strings.ToValidUTF8(part.Text[:min(n, len(part.Text))], "")
	short, err := json.Marshal(part)
	if err != nil {
		panic(err) // strings always encode
	}
	return []json.RawMessage{short}
}
