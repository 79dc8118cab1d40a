package api

import (
	"encoding/json"
	"time"
)

// What black-box tests cannot reach well: pure functions with many inputs.
var (
	ValidHost = validHost
	Covers    = covers
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
		{&a.timing.ready, &t.Ready}, {&a.timing.poll, &t.Poll}, {&a.timing.ping, &t.Ping}, {&a.timing.touch, &t.Touch},
		{&a.timing.write, &t.Write}, {&a.timing.begin, &t.Begin}, {&a.timing.answer, &t.Answer}, {&a.timing.grace, &t.Grace}, {&a.timing.stream, &t.Stream},
		{&a.timing.events, &t.Events}, {&a.timing.turn, &t.Turn}, {&a.timing.output, &t.Output},
	} {
		if *wait.to != 0 {
			*wait.of = *wait.to
		}
	}
}
