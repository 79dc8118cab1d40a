//go:build unix

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// prompt is the body of a message: what the user says in one turn.
type prompt struct {
	MessageID string            `json:"messageID"`
	Model     *ModelRef         `json:"model"`
	Parts     []json.RawMessage `json:"parts"`
	System    string            `json:"system"`
	NoReply   bool              `json:"noReply"`
}

// content is a piece of a message as the model gets it: text or an image.
type content struct {
	text  string
	image string // a data: URL
}

// check says what is wrong with p, or returns its parts for the model.
func (p prompt) check() ([]content, error) {
	if p.MessageID != "" && !strings.HasPrefix(p.MessageID, messageID) {
		return nil, badRequest("messageID: want an id that begins with %s, got %q", messageID, p.MessageID)
	}
	if p.Model == nil || p.Model.ModelID == "" {
		return nil, badRequest("model: modelID is missing")
	}
	if len(p.Parts) == 0 {
		return nil, badRequest("parts: at least one part is needed")
	}
	all := make([]content, 0, len(p.Parts))
	for i, raw := range p.Parts {
		c, err := readPart(raw)
		if err != nil {
			return nil, badRequest("parts[%d]: %v", i, err)
		}
		all = append(all, c)
	}
	return all, nil
}

func readPart(raw json.RawMessage) (content, error) {
	var p struct {
		Type   string  `json:"type"`
		Text   *string `json:"text"`
		URL    string  `json:"url"`
		Mime   string  `json:"mime"`
		Source struct {
			Type      string `json:"type"`
			MediaType string `json:"media_type"`
			Data      string `json:"data"`
		} `json:"source"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return content{}, err
	}
	switch p.Type {
	case "text":
		if p.Text == nil {
			return content{}, errors.New("text is missing")
		}
		return content{text: *p.Text}, nil
	case "image":
		if p.Source.Type != "base64" || !strings.HasPrefix(p.Source.MediaType, "image/") || p.Source.Data == "" {
			return content{}, errors.New("image: want source {type: base64, media_type: image/…, data}")
		}
		return content{image: "data:" + p.Source.MediaType + ";base64," + p.Source.Data}, nil
	case "file":
		if !strings.HasPrefix(p.Mime, "image/") || !strings.HasPrefix(p.URL, "data:") {
			return content{}, fmt.Errorf("file: want an image with a data: URL, got %q", p.Mime)
		}
		return content{image: p.URL}, nil
	default:
		return content{}, fmt.Errorf("unknown part type %q", p.Type)
	}
}

// withIDs returns a user's part as given, with the ids of where it is kept.
func withIDs(given json.RawMessage, id, message, session string) (Part, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(given, &fields); err != nil {
		return Part{}, err
	}
	for name, value := range map[string]string{"id": id, "messageID": message, "sessionID": session} {
		quoted, err := encode(value)
		if err != nil {
			return Part{}, err
		}
		fields[name] = quoted
	}
	whole, err := encode(fields)
	return Part{ID: id, MessageID: message, SessionID: session, given: whole}, err
}
