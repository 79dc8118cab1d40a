package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// A frame is one event of a stream.
type frame struct {
	id   int64
	data string
}

// kind is the type of the frame, or of the harness's event in it.
func (f frame) kind() string {
	var v struct {
		Type  string `json:"type"`
		Event struct {
			Type string `json:"type"`
		} `json:"event"`
	}
	_ = json.Unmarshal([]byte(f.data), &v) // no JSON has no type
	if v.Event.Type != "" {
		return v.Event.Type
	}
	return v.Type
}

// stream reads a session's event stream until it ends, ctx does, or each says no.
func (s *serving) stream(ctx context.Context, sessionID, query string, each func(frame) bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+managed+"/sessions/"+sessionID+"/stream?"+query, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("stream: %s", res.Status)
	}
	var f frame
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			if f.id, err = strconv.ParseInt(value, 10, 64); err != nil {
				return err
			}
		case "data":
			f.data = value
		case "":
			if f.data != "" && !each(f) {
				return nil
			}
			f = frame{}
		}
	}
	return ctx.Err()
}

const managed = "/api/v1/managed_agents"

// events returns the whole event log of a session, which no turn may be adding to. Its
// last event must be a session.idle.
func (s *serving) events(t *testing.T, sessionID string) []frame {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	last := s.newest(t, sessionID)
	var all []frame
	err := s.stream(ctx, sessionID, "follow=1&after=0", func(f frame) bool {
		if f.kind() != "stream.opened" {
			all = append(all, f)
		}
		return f.id < last
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// newest is the number of a session's newest event: where a stream that begins now begins.
func (s *serving) newest(t *testing.T, sessionID string) int64 {
	t.Helper()
	var last int64
	err := s.stream(t.Context(), sessionID, "follow=1", func(f frame) bool { last = f.id; return false })
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// gapless fails the test unless the frames are numbered from 1 without gaps.
func gapless(t *testing.T, all []frame) {
	t.Helper()
	for i, f := range all {
		if f.id != int64(i+1) {
			t.Fatalf("event %d has id %d", i+1, f.id)
		}
	}
}

type answer struct {
	status int
	body   string
}

// request makes a request with the master key.
func (s *serving) request(t *testing.T, method, path, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	return req
}

// do sends a request and returns the answer.
func do(t *testing.T, req *http.Request) answer {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, string(body)}
}
