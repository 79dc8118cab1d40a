// Package client speaks lap's REST API.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// A Client talks to one server. It is safe for concurrent use.
type Client struct {
	base string
	key  string
	http *http.Client
}

// New returns a client of the server at base, such as http://127.0.0.1:3000, that
// authenticates with the master key. It sets no time limits: a message can take as
// long as its turn does, so callers bound their contexts.
func New(base, key string) *Client {
	return &Client{base: strings.TrimRight(base, "/"), key: key, http: &http.Client{}}
}

// An Error is the server's answer to a request that it did not carry out.
type Error struct {
	Status  int // HTTP status, 400 or more
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (HTTP %d)", e.Message, e.Status) }

// Page is one page of a list.
type Page[T any] struct {
	Data   []T `json:"data"`
	Total  int `json:"total"` // rows in all
	Limit  int `json:"limit"`
	Offset int `json:"offset"`
}

// do sends in as JSON, when it is not nil, and decodes the answer into out, when that
// is not nil.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	res, err := c.send(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil || res.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: the answer is not what lap sends: %w", method, path, err)
	}
	return nil
}

// send sends a body of the given type, nil: none, and returns the answer, which the
// caller closes. An answer that is an error comes as an Error.
func (c *Client) send(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= http.StatusBadRequest {
		defer res.Body.Close()
		return nil, readError(res)
	}
	return res, nil
}

// maxError bounds what is read of an error.
const maxError = 64 << 10

func readError(res *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(res.Body, maxError))
	if err != nil {
		return err
	}
	var body struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &body) != nil || body.Error == "" { // not from lap
		body.Error = strings.TrimSpace(string(text))
	}
	return &Error{Status: res.StatusCode, Message: body.Error}
}

const managed = "/api/v1/managed_agents"

func agentPath(id string) string   { return managed + "/agents/" + url.PathEscape(id) }
func sessionPath(id string) string { return managed + "/sessions/" + url.PathEscape(id) }
