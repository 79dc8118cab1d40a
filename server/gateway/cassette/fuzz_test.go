package cassette_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"lap/server/gateway/cassette"
)

// FuzzCanonical holds that the form of a request is its own form, and that a call is read
// as it was written.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		`{"model":"record/a/gpt-5","messages":[{"role":"user","content":"hi\nthere\n\n"}],"n":1.0e5,"x":null,"y":[],"z":{}}`,
		`{"a":" leading\nand trailing \n","b":"\ttab\n","c":"<<","d":"~","e":"- x\n- y","f":"# c\n","g":"\u0085\u2028\ufeff\n","h":"yes","":"0x1f"}`,
		`["2026-01-02T03:04:05Z","Mon Jan 05 2026","msg_0123456789ab","/tmp/go-build123456/x","stub_github_token_db956f5c","sk-abc1234567890123"]`,
		`{"<<":{"a":1},"2026-01-02":1,"2026-01-03":2,"1":2,"true":3,"a: b":4,"? x":"|\n","k":1e400}`, `"---\n...\n%YAML"`, ``, `1767225600`,
	} {
		f.Add([]byte(seed), "data: x\r\n\r\n")
	}
	f.Add([]byte(`{"a":"2026-01-02T03:04:052026-01-02T03:04:05","b":"`+strings.Repeat("0123abcd", 200)+`","c":"1767225600msg_0123456789ab12:00:00"}`), "")
	f.Add([]byte("{}"), "event: a\ndata: {}\n\n: b \n\n\n")
	f.Fuzz(func(t *testing.T, body []byte, answer string) {
		if len(body) > 0 && !json.Valid(body) {
			return
		}
		r, err := cassette.Canonical("POST chat/completions?a=b", body, "record/a/gpt-5")
		if err != nil {
			return
		}
		text, err := cassette.Encode(cassette.Call{Model: "m", Request: r, Answer: cassette.Answer{Status: 200, Headers: map[string]string{"Content-Type": "x"}, Body: answer}})
		if err != nil {
			t.Fatal(err)
		}
		var got []cassette.Call
		if err := cassette.Decode(strings.NewReader("cassette: 1\n"+text), func(c cassette.Call) { got = append(got, c) }); err != nil || len(got) != 1 {
			t.Fatalf("read %d calls, %v, of:\n%s", len(got), err, text)
		}
		if got[0].Request.Text != r.Text {
			t.Errorf("the request changed from\n%s\nto\n%s", r.Text, got[0].Request.Text)
		}
		if got[0].Answer.Body != answer {
			t.Errorf("the answer %q became %q in:\n%s", answer, got[0].Answer.Body, text)
		}
	})
}

// FuzzDecode holds that whatever is read can be written and read again, and that nothing
// brings the reader down.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("cassette: 1\n---\nrequest: GET x\nbody:\n  a: |\n    x\nanswer:\n  status: 200\n  body: y\n"))
	f.Add([]byte("cassette: 1\n---\n&a [*a]\n---\n{}\n"))
	f.Add([]byte("cassette: 1\n---\nrequest: x\nbody: &a {b: *a}\nanswer: {status: 200, base64: '='}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		err := cassette.Decode(bytes.NewReader(file), func(c cassette.Call) {
			text, err := cassette.Encode(c)
			if err != nil {
				t.Fatal(err)
			}
			again := 0
			err = cassette.Decode(strings.NewReader("cassette: 1\n"+text), func(d cassette.Call) {
				again++
				if d.Request.Text != c.Request.Text || d.Answer.Body != c.Answer.Body {
					t.Errorf("%v became %v", c, d)
				}
			})
			if err != nil || again != 1 {
				t.Errorf("read %d calls, %v, of:\n%s", again, err, text)
			}
		})
		if err != nil && err.Error() == "" {
			t.Error("an error says nothing")
		}
	})
}
