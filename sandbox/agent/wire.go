package agent

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// The types of this file are the opencode wire. Values that were handed out are never
// changed: an update replaces what a pointer points to. So they can be encoded while
// a turn goes on.

// Session is a conversation. Tokens are running totals.
type Session struct {
	ID        string  `json:"id"`
	ProjectID string  `json:"projectID"`
	Directory string  `json:"directory"`
	Title     string  `json:"title"`
	Version   string  `json:"version"`
	Cost      float64 `json:"cost"`
	Tokens    Tokens  `json:"tokens"`
	Time      struct {
		Created int64 `json:"created"`
		Updated int64 `json:"updated"`
	} `json:"time"`
}

// Status says what a session does: "busy", "idle" or "retry". Next is when the model
// is asked again, in Unix milliseconds.
type Status struct {
	Type    string `json:"type"`
	Attempt int    `json:"attempt,omitempty"`
	Message string `json:"message,omitempty"`
	Next    int64  `json:"next,omitempty"`
}

// Message is one user message or one answer of the model.
type Message struct {
	Info  Info   `json:"info"`
	Parts []Part `json:"parts"`
}

// Info describes a message. Model is set for role user, Reply for role assistant.
type Info struct {
	ID        string    `json:"id"`
	SessionID string    `json:"sessionID"`
	Role      string    `json:"role"`
	Agent     string    `json:"agent"`
	Time      Created   `json:"time"`
	Model     *ModelRef `json:"model,omitempty"`
	*Reply
}

// Created is when a message was begun and completed, in Unix milliseconds.
type Created struct {
	Created   int64 `json:"created"`
	Completed int64 `json:"completed,omitempty"`
}

// ModelRef names a model. The provider "litellm" stands for the gateway itself.
type ModelRef struct {
	ProviderID string `json:"providerID"`
	ModelID    string `json:"modelID"`
}

// Reply is what an assistant message has beyond Info. Finish is empty while the answer
// is incomplete.
type Reply struct {
	ParentID   string  `json:"parentID"`
	ModelID    string  `json:"modelID"`
	ProviderID string  `json:"providerID"`
	Mode       string  `json:"mode"`
	Path       Path    `json:"path"`
	Cost       float64 `json:"cost"`
	Tokens     Tokens  `json:"tokens"`
	Finish     string  `json:"finish,omitempty"`
	Error      *Error  `json:"error,omitempty"`
}

// Path says where an answer was made.
type Path struct {
	CWD  string `json:"cwd"`
	Root string `json:"root"`
}

// Tokens counts what a model read and wrote.
type Tokens struct {
	Total     int64 `json:"total,omitempty"`
	Input     int64 `json:"input"`
	Output    int64 `json:"output"`
	Reasoning int64 `json:"reasoning"`
	Cache     struct {
		Read  int64 `json:"read"`
		Write int64 `json:"write"`
	} `json:"cache"`
}

// add returns the sum of t and u, without a total.
func (t Tokens) add(u Tokens) Tokens {
	t.Total = 0
	t.Input += u.Input
	t.Output += u.Output
	t.Reasoning += u.Reasoning
	t.Cache.Read += u.Cache.Read
	return t
}

// Error says why a turn ended before its time.
type Error struct {
	Name string    `json:"name"`
	Data ErrorData `json:"data"`
}

// ErrorData is the detail of an Error. StatusCode and IsRetryable are those of a model
// call; StatusCode is 0 when there was no HTTP answer.
type ErrorData struct {
	Message     string `json:"message"`
	StatusCode  int    `json:"statusCode,omitempty"`
	IsRetryable *bool  `json:"isRetryable,omitempty"`
}

// Error makes an Error an error of Go.
func (e *Error) Error() string { return e.Name + ": " + e.Data.Message }

// Part is a piece of a message. Which fields are set depends on Type.
type Part struct {
	ID        string     `json:"id"`
	SessionID string     `json:"sessionID"`
	MessageID string     `json:"messageID"`
	Type      string     `json:"type"`
	Text      *string    `json:"text,omitempty"`      // text, reasoning
	Synthetic bool       `json:"synthetic,omitempty"` // text that no human wrote
	Time      *Span      `json:"time,omitempty"`      // text, reasoning
	Mime      string     `json:"mime,omitempty"`      // file
	Filename  string     `json:"filename,omitempty"`  // file
	URL       string     `json:"url,omitempty"`       // file, not in the thread
	Source    *Source    `json:"source,omitempty"`    // image, file
	Tool      string     `json:"tool,omitempty"`      // tool
	CallID    string     `json:"callID,omitempty"`    // tool
	State     *ToolState `json:"state,omitempty"`     // tool
	Reason    string     `json:"reason,omitempty"`    // step-finish
	Cost      *float64   `json:"cost,omitempty"`      // step-finish
	Tokens    *Tokens    `json:"tokens,omitempty"`    // step-finish
	Auto      bool       `json:"auto,omitempty"`      // compaction
}

// Source is an image. A client sends it with Type "base64" and Data, which is so encoded;
// the thread has it as "omitted" and with Bytes, its size when decoded.
type Source struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type"`
	Data      string `json:"data,omitempty"`
	Bytes     int    `json:"bytes"`
}

// Span is a time from start to end, in Unix milliseconds. End is 0 until it is known.
type Span struct {
	Start int64 `json:"start"`
	End   int64 `json:"end,omitempty"`
}

// ToolState is the state of a tool call: "pending", "running", "completed" or "error".
type ToolState struct {
	Status   string          `json:"status"`
	Input    json.RawMessage `json:"input"`
	Raw      *string         `json:"raw,omitempty"`    // pending
	Output   *string         `json:"output,omitempty"` // completed
	Error    string          `json:"error,omitempty"`  // error
	Title    string          `json:"title,omitempty"`
	Metadata *Metadata       `json:"metadata,omitempty"`
	Time     *Span           `json:"time,omitempty"`
}

// Metadata is what a tool says for programs. Output and Exit are those of a command.
type Metadata struct {
	Output    *string `json:"output,omitempty"`
	Exit      *int    `json:"exit,omitempty"`
	Truncated bool    `json:"truncated"`
}

// Event is one frame of the event stream.
type Event struct {
	ID         string      `json:"id"`
	Type       string      `json:"type"`
	Properties *Properties `json:"properties"`
}

// Properties is what an event tells; which fields are set depends on its type.
type Properties struct {
	SessionID string  `json:"sessionID,omitempty"` // all but server.*
	Info      any     `json:"info,omitempty"`      // a Session or the Info of a message
	Status    *Status `json:"status,omitempty"`    // session.status
	Error     *Error  `json:"error,omitempty"`     // session.error
	Part      *Part   `json:"part,omitempty"`      // message.part.updated
	Time      int64   `json:"time,omitempty"`      // message.part.updated
	MessageID string  `json:"messageID,omitempty"` // message.part.delta, .removed
	PartID    string  `json:"partID,omitempty"`    // message.part.delta, .removed
	Field     string  `json:"field,omitempty"`     // message.part.delta
	Delta     string  `json:"delta,omitempty"`     // message.part.delta: goes to the end of Field
}

// Prefixes of ids.
const (
	sessionID = "ses_"
	messageID = "msg_"
	partID    = "prt_"
	eventID   = "evt_"
)

// newID makes an id. Ids sort by the time they were made.
func newID(prefix string) string {
	id := uuid.Must(uuid.NewV7()) // an error would be that there is no randomness
	return prefix + hex.EncodeToString(id[:])
}

// encode is json.Marshal without escapes for HTML, which would blow up source code.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// now is the time in Unix milliseconds.
func now() int64 { return time.Now().UnixMilli() }
