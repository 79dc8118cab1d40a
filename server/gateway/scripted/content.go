package scripted

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"strings"
)

// content is a message's text, given as a string or in parts, and how many images
// came with it.
type content struct {
	texts      []string
	images     int
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

// UnmarshalJSON reads a string, an array of parts, or null.
func (c *content) UnmarshalJSON(data []byte) error {
	*c = content{size: len(data)}
	if string(data) == "null" {
		return nil
	}
	if data[0] == '"' {
		c.texts = make([]string, 1)
		return json.Unmarshal(data, &c.texts[0])
	}
	err := each(data, func(p part) error {
		switch p.Type {
		case "text":
			c.texts = append(c.texts, p.Text)
		case "image_url":
			c.images++
			c.imageBytes += len(p.Image)
		}
		return nil
	})
	if err != nil {
		return errors.New("content is neither a string nor an array of parts")
	}
	return nil
}

type part struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	Image span   `json:"image_url"`
}

// span is a piece of the request's own bytes, not a copy of them.
type span []byte

// UnmarshalJSON keeps data, which stays as it is for as long as the request is answered.
func (s *span) UnmarshalJSON(data []byte) error {
	*s = data
	return nil
}

// each decodes the elements of an array one by one, so that an array of millions of
// empty ones takes no more memory than its text. array must be valid JSON.
func each[T any](array []byte, do func(T) error) error {
	if len(array) == 0 || array[0] != '[' {
		return errors.New("not an array")
	}
	for element := range elements(array) {
		var v T
		if err := json.Unmarshal(element, &v); err != nil {
			return err
		}
		if err := do(v); err != nil {
			return err
		}
	}
	return nil
}

// elements are the pieces of a valid JSON array.
func elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		depth, start := 0, 1
		for i := 0; i < len(array); i++ {
			switch array[i] {
			case '"':
				i += stringEnd(array[i:])
			case '[', '{':
				depth++
			case ',':
				if depth == 1 {
					if !yield(array[start:i]) {
						return
					}
					start = i + 1
				}
			case ']', '}':
				depth--
			}
		}
		if last := array[start : len(array)-1]; len(bytes.TrimSpace(last)) > 0 {
			yield(last)
		}
	}
}

// stringEnd is where the valid JSON string at the start of data ends.
func stringEnd(data []byte) int {
	for i := 1; ; {
		i += bytes.IndexByte(data[i:], '"')
		slashes := 0
		for data[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
		i++
	}
}
