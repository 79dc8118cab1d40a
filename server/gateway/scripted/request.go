package scripted

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const maxMessages = 10_000 // of one conversation

// request is what a scripted model reads of a chat completion request.
type request struct {
	model      string
	seed       [sha256.Size]byte // of the whole request; ids are made from it
	messages   []message
	promptSize int      // bytes of the messages, as sent
	tools      []string // names of the functions on offer
	stream     bool
	withUsage  bool // a stream ends with a usage chunk
}

type message struct {
	Role       string  `json:"role"`
	Content    content `json:"content"`
	ToolCallID string  `json:"tool_call_id"`
	ToolCalls  []struct {
		ID string `json:"id"`
	} `json:"tool_calls"`
}

// content is a message's text, given as a string or in parts, and how many images
// came with it.
type content struct {
	texts  []string
	images int
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
	*c = content{}
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
		}
		return nil
	})
	if err != nil {
		return errors.New("content is neither a string nor an array of parts")
	}
	return nil
}

type part struct{ Type, Text string }

// each decodes the elements of an array one by one, so that an array of millions of
// empty ones takes no more memory than its text.
func each[T any](data []byte, do func(T) error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		return errors.New("not an array")
	}
	for dec.More() {
		var v T
		if err := dec.Decode(&v); err != nil {
			return err
		}
		if err := do(v); err != nil {
			return err
		}
	}
	return nil
}

// parseRequest reads a body that the caller has bounded.
func parseRequest(body []byte) (*request, error) {
	var wire struct {
		Messages      json.RawMessage `json:"messages"`
		Stream        bool            `json:"stream"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
		Tools []struct {
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		} `json:"tools"`
		ToolChoice json.RawMessage `json:"tool_choice"`
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return nil, malformed(err)
	}
	req := &request{promptSize: len(wire.Messages), stream: wire.Stream, withUsage: wire.StreamOptions.IncludeUsage}
	err := each(wire.Messages, func(m message) error {
		if len(req.messages) == maxMessages {
			return fmt.Errorf("more than %d", maxMessages)
		}
		req.messages = append(req.messages, m)
		return nil
	})
	if err != nil {
		return nil, malformed(fmt.Errorf("messages: %w", err))
	}
	if len(req.messages) == 0 {
		return nil, invalid("", "messages: at least one is needed")
	}
	if string(wire.ToolChoice) == `"none"` {
		return req, nil
	}
	for _, t := range wire.Tools {
		req.tools = append(req.tools, t.Function.Name)
	}
	return req, nil
}

func malformed(err error) *Error {
	return invalid("", "the request is no chat completion request: %.300s", err.Error())
}

// tool returns the name under which a function is on offer, in whatever case.
func (r *request) tool(name string) (string, bool) {
	for _, t := range r.tools {
		if strings.EqualFold(t, name) {
			return t, true
		}
	}
	return "", false
}
