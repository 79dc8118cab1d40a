package api_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lap/server/api"
)

func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : 1 , "b":[1, {"c":"]}\\\""} ,"x"], "a":null} `, `{"a":"\\"}`, `{"a":-1.5e-3,"b":true}`, `{"\u0061":"\ud800"}`,
		`{"a":{}}x`, `[]`, `{"a":[[],{}]}`, "{\"a\":\"\xff\"}", `{"l":[1 ,"2", [3],{"4":5}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want map[string]json.RawMessage
		err := json.Unmarshal(body, &want)
		ok := err == nil && want != nil && utf8.Valid(body)
		got, gotErr := api.Members(body)
		if (gotErr == nil) != ok {
			t.Fatalf("err = %v, encoding/json says %v", gotErr, err)
		}
		if !ok {
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%d members, want %d", len(got), len(want))
		}
		for name, value := range want {
			if !bytes.Equal(got[name], value) {
				t.Errorf("member %q = %q, want %q", name, got[name], value)
			}
			var list []json.RawMessage
			if value[0] != '[' || json.Unmarshal(value, &list) != nil {
				continue
			}
			elements := api.Elements(body, name)
			if len(elements) != len(list) {
				t.Fatalf("%d elements, want %d", len(elements), len(list))
			}
			for i := range list {
				if !bytes.Equal(elements[i], list[i]) {
					t.Errorf("element %d = %q, want %q", i, elements[i], list[i])
				}
			}
		}
	})
}

func FuzzHost(f *testing.F) {
	for _, seed := range []string{"api.x.com", "*.x.com", "10.0.0.0/8", "http://x", "x:443", "*.", "..", "x.com/99", "[::1]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		if !api.ValidHost(entry) {
			return
		}
		if len(entry) > 253 || strings.ContainsAny(entry, ":[]@?# \t\n") || strings.Count(entry, "*") > 1 {
			t.Errorf("%q is accepted", entry)
		}
		if _, err := netip.ParsePrefix(entry); err != nil && strings.Contains(entry, "/") {
			t.Errorf("%q is accepted as a range: %v", entry, err)
		}
		if !api.Covers([]string{entry}, entry) || !api.Covers([]string{strings.ToUpper(entry)}, entry) {
			t.Errorf("%q does not cover itself", entry)
		}
	})
}

func FuzzToken(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	good := token(f, tokenKey, map[string]any{"kind": "access", "agent_id": "a", "scope": []string{}, "iat": 0, "exp": 1_800_000_000})
	for _, seed := range []string{good, "", ".", "a.b", "e30.e30", good + "=", good[1:]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, _, ok := api.TokenAgent([]byte(tokenKey), text, now); ok && text != good {
			t.Errorf("forged: %q", text)
		}
		if _, _, ok := api.TokenAgent(nil, text, now); ok {
			t.Errorf("accepted without a key: %q", text)
		}
		payload := map[string]any{"kind": "access", "agent_id": text, "scope": []string{text}, "iat": 0, "exp": 1_800_000_000}
		agent, _, ok := api.TokenAgent([]byte(tokenKey), token(t, tokenKey, payload), now)
		if ok != (text != "") || ok && agent != strings.ToValidUTF8(text, "\ufffd") && utf8.ValidString(text) {
			t.Errorf("agent = %q, %t, want %q", agent, ok, text)
		}
	})
}
