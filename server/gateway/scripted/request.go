package scripted

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

const (
	// MaxText is how many bytes a request may have beside its images.
	MaxText = 16 << 20

	maxMessages = 10_000 // of one conversation
	maxTools    = 10_000 // on offer, and calls in one message
)

// request is what a scripted model reads of a chat completion request.
type request struct {
	model      string
	seed       [sha256.Size]byte // of the whole request; ids are made from it
	messages   []message
	promptSize int      // bytes of the messages, as sent, without images
	images     int      // in the messages
	tools      []string // names of the functions on offer
	stream     bool
	withUsage  bool // a stream ends with a usage chunk
}

type message struct {
	Role       string  `json:"role"`
	Content    content `json:"content"`
	ToolCallID string  `json:"tool_call_id"`
	ToolCalls  calls   `json:"tool_calls"`
}

// calls are the ids of a message's tool calls.
type calls []string

// UnmarshalJSON reads an array of tool calls, or null.
func (c *calls) UnmarshalJSON(data []byte) error {
	*c = nil
	if string(data) == "null" {
		return nil
	}
	return each(data, func(v struct {
		ID string `json:"id"`
	},
	) error {
		if len(*c) == maxTools {
			return fmt.Errorf("more than %d tool calls", maxTools)
		}
		*c = append(*c, v.ID)
		return nil
	})
}

// parseRequest reads a body that the caller has bounded. It copies no images.
func parseRequest(body []byte) (*request, error) {
	var wire struct {
		Messages      span `json:"messages"`
		Stream        bool `json:"stream"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
		Tools      tools `json:"tools"`
		ToolChoice span  `json:"tool_choice"`
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return nil, malformed(err)
	}
	req := &request{stream: wire.Stream, withUsage: wire.StreamOptions.IncludeUsage}
	imageBytes, err := req.hear(wire.Messages)
	if err != nil {
		return nil, malformed(fmt.Errorf("messages: %w", err))
	}
	if len(req.messages) == 0 {
		return nil, invalid("", "messages: at least one is needed")
	}
	if len(body)-imageBytes > MaxText {
		return nil, errTooLarge
	}
	req.promptSize = len(wire.Messages) - imageBytes
	if string(wire.ToolChoice) != `"none"` {
		req.tools = wire.Tools
	}
	return req, nil
}

// hear takes the messages in and returns the bytes that their images take.
func (r *request) hear(messages span) (imageBytes int, err error) {
	text := 0
	err = each(messages, func(m message) error {
		if len(r.messages) == maxMessages {
			return fmt.Errorf("more than %d", maxMessages)
		}
		r.messages = append(r.messages, m)
		r.images += m.Content.images
		imageBytes += m.Content.imageBytes
		if text += m.Content.size - m.Content.imageBytes; text > MaxText {
			return errTooLarge // before more of it is kept
		}
		return nil
	})
	return imageBytes, err
}

// tools are the names of the functions on offer.
type tools []string

// UnmarshalJSON reads an array of tools, or null.
func (t *tools) UnmarshalJSON(data []byte) error {
	*t = nil
	if string(data) == "null" {
		return nil
	}
	return each(data, func(v struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	},
	) error {
		if len(*t) == maxTools {
			return fmt.Errorf("more than %d tools", maxTools)
		}
		*t = append(*t, v.Function.Name)
		return nil
	})
}

var errTooLarge = &Error{
	Status: http.StatusRequestEntityTooLarge, Type: "invalid_request_error", Code: "request_too_large",
	Message: fmt.Sprintf("the request is larger than %d MiB beside its images", MaxText>>20),
}

// malformed says what is wrong with a request, unless err does already.
func malformed(err error) error {
	if large, ok := errors.AsType[*Error](err); ok {
		return large
	}
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
