package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/client"
)

// TestStreamResumes breaks a stream off in the middle of a frame: every event must come
// once.
func TestStreamResumes(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI()+" "+r.Header.Get("Authorization"))
		switch r.URL.Query().Get("after") {
		case "":
			fmt.Fprint(w, "id: 4\ndata: {\"type\":\"stream.opened\"}\n\n: ping\n\nid: 5\ndata: {\"type\":\"a\"}\n\nid: 6\ndata: {\"ty")
		case "5":
			fmt.Fprint(w, "id: 5\ndata: {\"type\":\"stream.opened\"}\n\nid: 6\ndata: {\"type\":\"b\"}\n\nid: 6\ndata: {\"type\":\"error\",\"message\":\"x\"}\n\n")
		default:
			w.WriteHeader(http.StatusGone)
			fmt.Fprint(w, `{"error":"session s is dead"}`)
		}
	}))
	defer server.Close()
	var got []string
	var last error
	for e, err := range client.New(server.URL, "key").Stream(t.Context(), "s", -1) {
		if last = err; err == nil {
			got = append(got, fmt.Sprint(e.ID, " ", e.Type, " ", string(e.Body)))
		}
	}
	if diff := cmp.Diff([]string{`5 a {"type":"a"}`, `6 b {"type":"b"}`}, got); diff != "" {
		t.Error(diff)
	}
	var refused *client.Error
	if !errors.As(last, &refused) || refused.Status != http.StatusGone || refused.Message != "session s is dead" {
		t.Errorf("the stream ends with %v", last)
	}
	const path = "/api/v1/managed_agents/sessions/s/stream?follow=1"
	if diff := cmp.Diff([]string{path + " Bearer key", path + "&after=5 Bearer key", path + "&after=6 Bearer key"}, asked); diff != "" {
		t.Error(diff)
	}
}

func TestStreamEnds(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "id: 1\ndata: {\"type\":\"a\"}\n\n")
	}))
	defer server.Close()
	c := client.New(server.URL, "key")
	n := 0
	for _, err := range c.Stream(t.Context(), "s", 0) {
		if n++; err != nil {
			t.Error(err)
		}
		if n == 1 {
			break // nobody wants more
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range c.Stream(ctx, "s", 0) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("the stream ends with %v", last)
	}
}
