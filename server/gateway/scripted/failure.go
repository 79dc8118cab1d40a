package scripted

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// An Error is a failure of a call.
type Error struct {
	Status     int    // of HTTP, 400 to 599
	Type, Code string // as in the error object of OpenAI's APIs
	Own        bool   // Type is what a script says, for any API
	Message    string
	RetryAfter time.Duration // 0: none is announced
}

func (e *Error) Error() string { return e.Message }

type openAIError struct {
	Error struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	} `json:"error"`
}

// OpenAI is the error as OpenAI's APIs tell it.
func (e *Error) OpenAI() any {
	var out openAIError
	out.Error.Message, out.Error.Type = e.Message, e.Type
	if e.Code != "" {
		out.Error.Code = &e.Code
	}
	return out
}

type anthropicError struct {
	Type  string `json:"type"`
	Error struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
}

// Anthropic is the error as Anthropic's API tells it: without a code, and with a type
// that follows from the status.
func (e *Error) Anthropic() any {
	out := anthropicError{Type: "error"}
	out.Error.Type, out.Error.Message = anthropicType(e.Status), e.Message
	if e.Own {
		out.Error.Type = e.Type
	}
	return out
}

// statusOverloaded is Anthropic's own.
const statusOverloaded = 529

func anthropicType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusPaymentRequired:
		return "billing_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	case statusOverloaded:
		return "overloaded_error"
	}
	if status >= http.StatusInternalServerError {
		return "api_error"
	}
	return "invalid_request_error"
}

// invalid is an error of the request or the script, which trying again does not cure.
func invalid(code, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: code, Message: fmt.Sprintf(format, args...)}
}

// maxFailures bounds the calls whose failures are remembered.
const maxFailures = 4096

// failures counts how often a turn has failed for one caller.
type failures struct {
	mu    sync.Mutex // guards count
	count map[[sha256.Size]byte]int
}

// due reports whether the call fails again. times 0 is always. Once a call has failed
// as often as it should, it is forgotten and may fail anew.
func (f *failures) due(times int, key [sha256.Size]byte) bool {
	if times == 0 {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == nil || len(f.count) >= maxFailures {
		f.count = map[[sha256.Size]byte]int{}
	}
	if f.count[key] >= times {
		delete(f.count, key)
		return false
	}
	f.count[key]++
	return true
}

// failureKey tells calls apart. A harness that names its session may change its
// request between two tries; without a name only the same request is the same call.
func failureKey(from Caller, req *request, turn int) [sha256.Size]byte {
	call := any(req.seed)
	if from.Session != "" {
		call = from.Session
	}
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %d %t %q", from.Sandbox, req.model, turn, len(req.tools) > 0, call))
}
