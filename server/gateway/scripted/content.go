package scripted

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// content is a message's text, given as a string or in parts, and how many images
// came with it.
type content struct {
	texts      []string
	images     int
	notes      int // texts that a harness added, which are not among texts
	size       int // bytes of the whole, as sent
	imageBytes int // of these, bytes of images
}

// all is the whole text.
func (c content) all() string { return strings.Join(c.texts, "\n") }

// last is what the user wrote: a harness puts what it has to add into parts before it.
func (c content) last() string {
	if len(c.texts) == 0 {
		return ""
	}
	return c.texts[len(c.texts)-1]
}

// isNote reports whether nobody but a harness speaks.
func (c content) isNote() bool { return c.notes > 0 && len(c.texts) == 0 && c.images == 0 }

// UnmarshalJSON reads a string, an array of parts, or null.
func (c *content) UnmarshalJSON(data []byte) error {
	*c = content{size: len(data)}
	if string(data) == "null" {
		return nil
	}
	if data[0] == '"' {
		var text string
		err := json.Unmarshal(data, &text)
		c.say(text)
		return err
	}
	err := each(data, func(p part) error {
		c.add(p)
		return nil
	})
	if err != nil {
		return errors.New("content is neither a string nor an array of parts")
	}
	return nil
}

// content reads a content that may be missing.
func (s span) content() (c content, err error) {
	if len(s) > 0 {
		err = json.Unmarshal(s, &c)
	}
	return c, err
}

// part is a piece of a message on any of the wires.
type part struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Image  span   `json:"image_url"` // of OpenAI
	Source span   `json:"source"`    // of Anthropic's images
}

func (c *content) add(p part) {
	switch p.Type {
	case "text", "input_text", "output_text":
		c.say(p.Text)
	case "image_url", "input_image", "image":
		c.images++
		c.imageBytes += len(p.Image) + len(p.Source)
	}
}

// noteTags enclose what harnesses say in the user's name, before or after the user.
var noteTags = []string{"system-reminder", "environment_context"}

func (c *content) say(text string) {
	trimmed := strings.TrimSpace(text)
	if slices.ContainsFunc(noteTags, func(tag string) bool {
		return strings.HasPrefix(trimmed, "<"+tag+">") && strings.HasSuffix(trimmed, "</"+tag+">")
	}) {
		c.notes++
		return
	}
	c.texts = append(c.texts, text)
}
