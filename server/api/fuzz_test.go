package api_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lap/sandbox/vault/rule"
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
		if !rule.Covers([]string{entry}, entry) || !rule.Covers([]string{strings.ToUpper(entry)}, entry) {
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

func FuzzResume(f *testing.F) {
	for _, seed := range [][2]string{{"", ""}, {"after=1", "2"}, {"after=", "x"}, {"", "9223372036854775808"}, {"x=%zz&after=3", "-1"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, query, header string) {
		const newest = 1000
		after, err := api.ResumeAfter(query, header, newest)
		switch {
		case err != nil && !strings.HasPrefix(err.Error(), "after: ") && !strings.HasPrefix(err.Error(), "Last-Event-ID: "):
			t.Errorf("error = %v", err)
		case err == nil && (after < -1 || after > newest):
			t.Errorf("after = %d", after)
		case err == nil && after < 0 && header != "":
			t.Errorf("the header %q is overlooked", header)
		}
	})
}

func FuzzHarnessPath(f *testing.F) {
	for _, seed := range []string{"", "session", "session/a%2Fb", "..", "%2e%2e/x", "a//b", "%", "a%5C..%5Cb", "x?y", "%00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, tail string) {
		path, err := api.HarnessPath(sessions + "/id/opencode/" + tail)
		if err != nil {
			return
		}
		u, err := url.Parse("http://guest/harness/" + path)
		if err != nil || u.RawQuery != "" || u.Fragment != "" || u.Host != "guest" {
			t.Fatalf("%q becomes %q: %v", tail, path, err)
		}
		if u.EscapedPath() != "/harness/"+path || !strings.HasPrefix(u.Path, "/harness/") {
			t.Errorf("%q becomes %q, and that %q", tail, path, u.EscapedPath())
		}
		for part := range strings.SplitSeq(strings.ReplaceAll(u.Path, `\`, "/"), "/") {
			if part == ".." || part == "." {
				t.Errorf("%q becomes %q, which leads elsewhere", tail, u.Path)
			}
		}
	})
}

func FuzzIdempotencyKey(f *testing.F) {
	for _, seed := range []string{"", "k", "a b", "\x7f", "ä", strings.Repeat("k", 255), strings.Repeat("k", 256)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		key, err := api.KeyOf(value)
		printable := strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) < 0
		if ok := value != "" && len(value) <= 255 && printable; ok != (err == nil) || ok && key != value {
			t.Errorf("%q gives %q, %v", value, key, err)
		}
	})
}

// FuzzMessageLog reads messages that a sandbox made up.
func FuzzMessageLog(f *testing.F) {
	for _, seed := range []string{
		`{"info":{"id":"m","role":"user","time":{"created":1e300}},"parts":[{"type":"text","text":"x"}]}`, `[]`, `null`, `{"parts":{}}`,
		`{"info":{"role":"assistant","tokens":{"output":1e99}},"parts":[{"type":"tool","state":"x","input":null},{"type":"reasoning","thinking":"y"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if log := api.MessageLog(raw); !json.Valid([]byte(log)) {
			t.Errorf("log = %s", log)
		}
	})
}
