package scripted

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

const maxDelay = 30 * time.Minute

// Why an answer ends, as a script says it.
const (
	finishStop   = "stop"
	finishLength = "length"
	finishCalls  = "tool_calls"
	finishFilter = "content_filter"
)

var finishReasons = []string{finishStop, finishLength, finishCalls, finishFilter}

// check reports what is wrong with the turn, naming the key, and prepares it for play.
func (t *turn) check() error {
	if err := errors.Join(t.checkDelay("delay", t.Delay), t.checkDelay("chunk_delay", t.ChunkDelay)); err != nil {
		return err
	}
	if t.When != nil {
		if err := t.When.compile(); err != nil {
			return fmt.Errorf("when: %w", err)
		}
	}
	for i := range t.ToolCalls {
		if err := t.ToolCalls[i].encode(); err != nil {
			return fmt.Errorf("tool_calls[%d]: %w", i, err)
		}
	}
	if t.Finish != "" && !slices.Contains(finishReasons, t.Finish) {
		return fmt.Errorf("finish_reason: %q is none of %s", t.Finish, strings.Join(finishReasons, ", "))
	}
	if err := t.checkFaults(); err != nil {
		return err
	}
	if t.Repeat && t.When != nil {
		return errors.New("repeat: a turn with when is given whenever that fits anyway")
	}
	if u := t.Usage; u != nil && min(u.Prompt, u.Completion, u.Cached, u.Reasoning) < 0 {
		return errors.New("usage: a count is negative")
	}
	return t.checkError()
}

func (*turn) checkDelay(key string, d time.Duration) error {
	if d < 0 || d > maxDelay {
		return fmt.Errorf("%s: is not between 0 and %v", key, maxDelay)
	}
	return nil
}

func (t *turn) checkFaults() error {
	faults := 0
	if t.Cut != nil {
		faults++
		if *t.Cut < 0 {
			return errors.New("cut: is negative")
		}
	}
	if m := t.Malformed; m != nil {
		faults++
		switch {
		case m.After < 0:
			return errors.New("malformed: after: is negative")
		case m.Kind != "" && m.Kind != faultJSON && m.Kind != faultFraming:
			return fmt.Errorf("malformed: kind: %q is neither %s nor %s", m.Kind, faultJSON, faultFraming)
		}
	}
	if t.Error != nil && t.Error.After != nil {
		faults++
		if *t.Error.After < 0 {
			return errors.New("error: after: is negative")
		}
	}
	if faults > 1 {
		return errors.New("cut, malformed and an error with after: only one of them can happen")
	}
	return nil
}

func (t *turn) checkError() error {
	e := t.Error
	switch answers := t.Text != "" || t.Reasoning != "" || len(t.ToolCalls) > 0; {
	case e == nil && !answers:
		return errors.New("needs one of text, reasoning, tool_calls and error")
	case e == nil:
		return nil
	case e.Times < 0:
		return errors.New("error: times: is negative")
	case e.After != nil && !answers:
		return errors.New("error: after: needs an answer beside the error, which it interrupts")
	case e.Times == 0 && e.After == nil && answers:
		return errors.New("error: without times the answer beside it is never given")
	case e.Times > 0 && !answers:
		return errors.New("error: times: needs an answer beside the error, to be given afterwards")
	case e.Status < http.StatusBadRequest || e.Status > 599:
		return fmt.Errorf("error: status: %d is not between 400 and 599", e.Status)
	case e.RetryAfter < 0 || e.RetryAfter > math.MaxInt32*time.Second:
		return errors.New("error: retry_after: is out of range")
	}
	return nil
}

func (c *toolCall) encode() error {
	if c.Name == "" {
		return errors.New("name: is missing")
	}
	switch args := c.Arguments.(type) {
	case nil:
		c.encoded = "{}"
	case string:
		c.encoded = args
	case map[string]any:
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(args); err != nil {
			return fmt.Errorf("arguments: have no JSON form: %w", err)
		}
		c.encoded = strings.TrimSuffix(b.String(), "\n")
	default:
		return errors.New("arguments: is neither a mapping nor a string")
	}
	return nil
}
