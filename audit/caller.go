package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const managed = "/api/v1/managed_agents"

// A caller speaks lap's REST API, and looks at every answer as it came.
type caller struct {
	base, key string
	ledger    *ledger
	place     string   // that the answers belong to
	may       []string // be in them by design
	header    map[string]string
}

// as returns a caller whose answers belong to another place.
func (c caller) as(place string, may ...string) caller {
	c.place, c.may = "API: "+place, may
	return c
}

// with returns a caller that sends a header.
func (c caller) with(name, value string) caller {
	c.header = map[string]string{name: value}
	return c
}

// An answer is what the server said.
type answer struct {
	status int
	text   []byte
	found  []string // canaries in it
}

// do sends body, as it is when it is bytes, else as JSON; nil: none.
func (c caller) do(ctx context.Context, method, path string, body any) (answer, error) {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		in = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return answer{}, err
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, in)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	var whole bytes.Buffer
	if err := res.Header.Write(&whole); err != nil {
		return answer{}, err
	}
	head := whole.Len()
	if _, err = whole.ReadFrom(res.Body); errors.Is(err, context.DeadlineExceeded) {
		err = nil // a stream, read for as long as was wanted
	}
	found := c.ledger.lookAt(c.place, whole.Bytes(), c.may...)
	return answer{res.StatusCode, whole.Bytes()[head:], found}, err
}

// made is do for what must succeed. It decodes the answer into out, when that is not nil.
func (c caller) made(ctx context.Context, method, path string, body, out any) error {
	a, err := c.do(ctx, method, path, body)
	switch {
	case err != nil:
		return err
	case a.status >= http.StatusBadRequest:
		return fmt.Errorf("%s %s: HTTP %d: %s", method, path, a.status, clip(a.text))
	case out == nil:
		return nil
	}
	return json.Unmarshal(a.text, out)
}

// clip shortens a text for a message.
func clip(text []byte) string { return string(text[:min(len(text), 300)]) }

type agent struct {
	ID string `json:"id"`
}

type session struct {
	ID     string  `json:"id"`
	Status string  `json:"status"`
	Reason *string `json:"failure_reason"`
	Box    *string `json:"task_arn"` // its container
}

func (s session) path() string { return managed + "/sessions/" + s.ID }

// settled waits until a session is not being created any more.
func (c caller) settled(ctx context.Context, id string) (s session, err error) {
	for {
		if err := c.made(ctx, http.MethodGet, managed+"/sessions/"+id, nil, &s); err != nil || s.Status != "creating" {
			return s, err
		}
		select {
		case <-time.After(2 * lookEvery):
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// ready is settled for a session that must work.
func (c caller) ready(ctx context.Context, id string) (session, error) {
	s, err := c.settled(ctx, id)
	if err == nil && s.Status != "ready" {
		why := "no reason given"
		if s.Reason != nil {
			why = *s.Reason
		}
		err = fmt.Errorf("a session is %s: %s", s.Status, why)
	}
	return s, err
}
