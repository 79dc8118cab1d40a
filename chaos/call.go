package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// An answer is what a client got for a request.
type answer struct {
	status int // 0: none, or a part of one
	body   []byte
	err    error
}

var errUnasked = errors.New("not asked")

func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

// String is the answer in a word.
func (a answer) String() string {
	switch {
	case errors.Is(a.err, errUnasked):
		return ""
	case a.status == 0:
		return "lost"
	}
	return strconv.Itoa(a.status)
}

// into decodes the body of an answer that went well.
func (a answer) into(v any) error {
	if !a.ok() {
		return errors.Join(errors.New("the answer is "+a.String()+" "+string(a.body)), a.err)
	}
	return json.Unmarshal(a.body, v)
}

const (
	managed   = "/api/v1/managed_agents"
	callLimit = 90 * time.Second
)

func sessionPath(id string) string { return managed + "/sessions/" + id }
func agentPath(id string) string   { return managed + "/agents/" + id }

// call sends one request to the server as it is now. key is an idempotency key, "": none.
func (l *lap) call(ctx context.Context, method, path, key string, in any) answer {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	res, err := l.send(ctx, method, path, key, in)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{body: body, err: err}
	}
	return answer{status: res.StatusCode, body: body}
}

func (l *lap) send(ctx context.Context, method, path, key string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, l.base()+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return http.DefaultClient.Do(req)
}
