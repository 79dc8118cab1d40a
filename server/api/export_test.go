package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// What black-box tests cannot reach well: pure functions with many inputs.
var (
	ValidHost = validHost
	IsBase64  = isBase64
	Integral  = integral
)

// TokenAgent returns whom a valid token stands for.
func TokenAgent(key []byte, token string, now time.Time) (agent, kind string, ok bool) {
	c, ok := parseToken(key, token, now)
	return c.AgentID, c.Kind, ok
}

// Members takes a request body apart: its members' names and values, or an error.
func Members(body []byte) (map[string]json.RawMessage, error) {
	o, err := parse(body)
	if err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	for name, v := range o.members {
		out[name] = v.raw
	}
	return out, nil
}

// Elements takes the arrays in a request body apart.
func Elements(body []byte, name string) []json.RawMessage {
	o, err := parse(body)
	if err != nil {
		return nil
	}
	var out []json.RawMessage
	for _, v := range o.Array(name) {
		out = append(out, v.raw)
	}
	return out
}

// A Timing shortens how long an API waits; what is 0 stays.
type Timing struct{ Ready, Poll, Ping, Touch, Write, Begin, Answer, Grace, Stream, Events, Turn, Output time.Duration }

// Hurry comes before the first request.
func (a *API) Hurry(t Timing) {
	for _, wait := range []struct{ of, to *time.Duration }{
		{&a.timing.ready, &t.Ready},
		{&a.timing.poll, &t.Poll},
		{&a.timing.ping, &t.Ping},
		{&a.timing.touch, &t.Touch},
		{&a.timing.write, &t.Write},
		{&a.timing.begin, &t.Begin},
		{&a.timing.answer, &t.Answer},
		{&a.timing.grace, &t.Grace},
		{&a.timing.stream, &t.Stream},
		{&a.timing.events, &t.Events},
		{&a.timing.turn, &t.Turn},
		{&a.timing.output, &t.Output},
	} {
		if *wait.to != 0 {
			*wait.of = *wait.to
		}
	}
}

// Routes are the routes that need a credential, as METHOD path.
func (a *API) Routes() []string {
	var list []string
	for _, rt := range a.routes() {
		if !rt.access.public {
			list = append(list, rt.method+" "+rt.path)
		}
	}
	return list
}

// ResumeAfter is where a request with these two goes on.
func ResumeAfter(rawQuery, lastID string, newest int64) (int64, error) {
	r := &http.Request{URL: &url.URL{RawQuery: rawQuery}, Header: http.Header{}}
	r.Header.Set(lastEventID, lastID)
	return resumeAfter(r, newest)
}

// HarnessPath is the path that a guest is asked for, given that of a request.
func HarnessPath(escaped string) (string, error) {
	p, err := harnessPath(escaped)
	return p.String(), err
}

// KeyOf is the idempotency key of a request with the given header.
func KeyOf(value string) (key string, err error) {
	o, err := once(&http.Request{Header: http.Header{idempotencyKey: {value}}}, "scope", "route", nil)
	if err != nil {
		return "", err
	}
	return o.Key, nil
}

// MessageLog is the log of a message, as JSON.
func MessageLog(raw []byte) string {
	list, _ := messageLog(raw, time.Unix(0, 0))
	b, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return string(b)
}
