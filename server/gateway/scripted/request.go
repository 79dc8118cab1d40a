package scripted

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
)

const (
	// MaxText is how many bytes a request may have beside its images.
	MaxText = 16 << 20

	maxMessages = 10_000 // of one conversation
	maxTools    = 10_000 // on offer, and calls in one message
)

// Who speaks in a message.
const (
	roleSystem    = "system"
	roleUser      = "user"
	roleAssistant = "assistant"
	roleTool      = "tool"
)

// request is what a scripted model reads of a request, in no particular wire format.
type request struct {
	model      string
	seed       [sha256.Size]byte // of the whole request; ids are made from it
	messages   []message
	promptSize int // bytes of what the model reads, as sent, without images
	images     int // in the messages
	imageBytes int
	textSize   int // bytes of the messages, as sent, without images
	tools      []tool
	stream     bool
	withUsage  bool // a chat completion's stream ends with a usage chunk
	sealed     bool // a response's reasoning comes with encrypted content
}

// message is what one side said. The result of a tool call is one of its own.
type message struct {
	role    string
	content content
	answers string   // of a tool: the id of the call
	calls   []string // of the assistant: ids of its tool calls
}

// add takes a message in. What only a harness says in the user's name is not the user's.
func (r *request) add(m message) error {
	if len(r.messages) == maxMessages {
		return fmt.Errorf("more than %d", maxMessages)
	}
	if m.role == roleUser && m.content.isNote() {
		m.role = roleSystem
	}
	r.messages = append(r.messages, m)
	r.images += m.content.images
	r.imageBytes += m.content.imageBytes
	if r.textSize += m.content.size - m.content.imageBytes; r.textSize > MaxText {
		return errTooLarge // before more of it is kept
	}
	return nil
}

// complete checks what has been read of body. prompt is the bytes of it that the model
// reads, where its messages are called name.
func (r *request) complete(name string, body []byte, prompt int) error {
	if len(r.messages) == 0 {
		return invalid("", "%s: at least one is needed", name)
	}
	if len(body)-r.imageBytes > MaxText {
		return errTooLarge
	}
	r.promptSize = prompt - r.imageBytes
	return nil
}

// addCall takes in the id of a tool call, unless there are too many.
func (m *message) addCall(id string) error {
	if len(m.calls) == maxTools {
		return fmt.Errorf("more than %d tool calls", maxTools)
	}
	m.calls = append(m.calls, id)
	return nil
}

var errTooLarge = &Error{
	Status: http.StatusRequestEntityTooLarge, Type: "invalid_request_error", Code: "request_too_large",
	Message: fmt.Sprintf("the request is larger than %d MiB beside its images", MaxText>>20),
}

// unreadable says what is wrong with a request of a kind, unless err does already.
func unreadable(kind string, err error) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	return invalid("", "the request is no %s request: %.300s", kind, err.Error())
}
