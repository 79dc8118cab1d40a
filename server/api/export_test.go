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
