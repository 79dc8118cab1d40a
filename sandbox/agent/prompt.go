package agent

import (
	"errors"
	"fmt"
	"strings"
)

// prompt is the body of a message: what the user says in one turn.
type prompt struct {
	MessageID string    `json:"messageID"`
	Model     *ModelRef `json:"model"`
	Parts     []Part    `json:"parts"`
	System    string    `json:"system"`
	NoReply   bool      `json:"noReply"`
}

// check says what is wrong with p, or returns its parts for the model. p keeps those for
// the thread.
func (p *prompt) check() (content, error) {
	if p.MessageID != "" && !strings.HasPrefix(p.MessageID, messageID) {
		return nil, badRequest("messageID: want an id that begins with %s, got %q", messageID, p.MessageID)
	}
	if p.Model == nil || p.Model.ModelID == "" {
		return nil, badRequest("model: modelID is missing")
	}
	if len(p.Parts) == 0 {
		return nil, badRequest("parts: at least one part is needed")
	}
	var all content
	for i, part := range p.Parts {
		c, err := part.piece()
		if err != nil {
			return nil, badRequest("parts[%d]: %v", i, err)
		}
		all = append(all, c)
		p.Parts[i] = part.omit()
	}
	return all, nil
}

// piece is a user's part for the model.
func (p Part) piece() (piece, error) {
	switch p.Type {
	case "text":
		if p.Text == nil {
			return piece{}, errors.New("text is missing")
		}
		return piece{Type: "text", Text: *p.Text}, nil
	case "image":
		src := p.Source
		if src == nil || src.Type != "base64" || !strings.HasPrefix(src.MediaType, "image/") || src.Data == "" {
			return piece{}, errors.New("image: want source {type: base64, media_type: image/…, data}")
		}
		return piece{Type: "image_url", Image: &image{"data:" + src.MediaType + ";base64," + src.Data}}, nil
	case "file":
		if !strings.HasPrefix(p.Mime, "image/") || !strings.HasPrefix(p.URL, "data:") {
			return piece{}, fmt.Errorf("file: want an image with a data: URL, got %q", p.Mime)
		}
		return piece{Type: "image_url", Image: &image{p.URL}}, nil
	default:
		return piece{}, fmt.Errorf("unknown part type %q", p.Type)
	}
}
