package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/server/api"
)

func TestSendMessage(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	const image = `{"type":"image","source":{"type":"base64","media_type":"image/webp","data":"aGk"}}`
	tests := []struct {
		name, body string
		want       []string
	}{
		{"text", `{"text": " hi <b> \u00fc "}`, []string{`{"type":"text","text":" hi \u003cb\u003e ü "}`}},
		{"parts", `{"parts": [ {"type": "text", "text":"a"} ,{"type":"x","n":1.0}]}`, []string{`{"type": "text", "text":"a"}`, `{"type":"x","n":1.0}`}},
		{"text and attachment", `{"attachments": [{"mime_type": "image/webp", "base64": "aGk"}], "text": "t"}`, []string{`{"type":"text","text":"t"}`, image}},
		{"attachment", `{"attachments": [{"mime_type": "image/webp", "base64": "aGk"}]}`, []string{image}},
		{"attachment and empty text", `{"text": "", "attachments": [{"mime_type": "image/webp", "base64": "aGk"}]}`, []string{image}},
		{"escaped base64", `{"attachments": [{"mime_type": "image\/webp", "base64": "\u0061Gk"}]}`, []string{image}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do(t, "POST", sessions+"/"+id+"/message", tt.body).want(t, http.StatusOK)
			if want := `{"info": {"id": "m1"},  "parts": [{"type":"text","text":"<hi>"}], "extra": 1.0}`; r.body != want {
				t.Errorf("reply = %s, want it as the harness gave it: %s", r.body, want)
			}
			var got []string
			for _, part := range w.engine.turn().Parts {
				got = append(got, string(part))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMessageFaults(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	tests := []struct{ name, body, phrase string }{
		{"nothing", `{}`, "is required"},
		{"empty text", `{"text": ""}`, "text: must not be empty"},
		{"empty text, no attachments", `{"text": "", "attachments": []}`, "text: "},
		{"no attachments", `{"attachments": []}`, "is required"},
		{"text is null", `{"text": null}`, "text: must be a string"},
		{"text is a list", `{"text": ["a"]}`, "text: "},
		{"no parts", `{"parts": []}`, "parts: must not be empty"},
		{"parts is null", `{"parts": null}`, "parts: must be an array"},
		{"parts is an object", `{"parts": {"type": "text"}}`, "parts: "},
		{"a part is text", `{"parts": [{"type": "text"}, "x"]}`, "parts.1: must be an object"},
		{"a part is null", `{"parts": [null]}`, "parts.0: "},
		{"a part without type", `{"parts": [{"text": "x"}]}`, "parts.0.type: is required"},
		{"a part's type is a number", `{"parts": [{"type": 1}]}`, "parts.0.type: must be a string"},
		{"text and parts", `{"text": "x", "parts": [{"type": "text"}]}`, "text: cannot go with parts"},
		{"empty text and parts", `{"text": "", "parts": [{"type": "text"}]}`, "text: "},
		{"attachments and parts", `{"attachments": [], "parts": [{"type": "text"}]}`, "attachments: cannot go with parts"},
	}
	for _, tt := range append(tests, attachmentFaults("attachments")...) {
		t.Run(tt.name, func(t *testing.T) {
			w.do(t, "POST", sessions+"/"+id+"/message", tt.body).wantError(t, http.StatusBadRequest, tt.phrase)
		})
	}
	if n := w.engine.sent(); n > 0 {
		t.Errorf("%d turns were sent all the same", n)
	}
}

// attachmentFaults are the faults of attachments in the member of the given name.
func attachmentFaults(name string) []struct{ name, body, phrase string } {
	good := `{"mime_type": "image/png", "base64": "aGk="}`
	list := []struct{ name, body, phrase string }{
		{"is an object", good, name + ": must be an array"},
		{"is null", `null`, name + ": "},
		{"eleven", "[" + strings.Repeat(good+",", 10) + good + "]", name + ": at most 10"},
		{"one is text", `["x"]`, name + ".0: must be an object"},
		{"no mime_type", `[{"base64": "aGk="}]`, name + ".0.mime_type: is required"},
		{"other mime_type", `[` + good + `, {"mime_type": "image/svg+xml", "base64": "aGk="}]`, name + ".1.mime_type: must be one of image/png, image/jpeg, image/gif, image/webp"},
		{"mime_type in upper case", `[{"mime_type": "IMAGE/PNG", "base64": "aGk="}]`, name + ".0.mime_type: "},
		{"mime_type is null", `[{"mime_type": null, "base64": "aGk="}]`, name + ".0.mime_type: "},
		{"no base64", `[{"mime_type": "image/png"}]`, name + ".0.base64: is required"},
		{"empty base64", `[{"mime_type": "image/png", "base64": ""}]`, name + ".0.base64: must not be empty"},
		{"no base64 at all", `[{"mime_type": "image/png", "base64": "a-_k"}]`, name + ".0.base64: is not base64"},
		{"data URL", `[{"mime_type": "image/png", "base64": "data:image/png;base64,aGk="}]`, name + ".0.base64: "},
		{"base64 is a number", `[{"mime_type": "image/png", "base64": 1}]`, name + ".0.base64: "},
		{"base64 is too long", `[{"mime_type": "image/png", "base64": "` + strings.Repeat("A", 6990507) + `"}]`, name + ".0.base64: too large"},
		{"name is too long", `[{"mime_type": "image/png", "base64": "aGk=", "name": "` + strings.Repeat("ä", 256) + `"}]`, name + ".0.name: at most 255"},
		{"name is null", `[{"mime_type": "image/png", "base64": "aGk=", "name": null}]`, name + ".0.name: "},
	}
	for i := range list {
		list[i].name, list[i].body = name+" "+list[i].name, fmt.Sprintf(`{%q: %s}`, name, list[i].body)
	}
	return list
}

func TestLargestAttachment(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	data := strings.Repeat("A", 6990506)
	body := `{"attachments": [{"mime_type": "image/png", "name": "` + strings.Repeat("ä", 255) + `", "base64": "` + data + `"}]}`
	w.do(t, "POST", sessions+"/"+id+"/message", body).want(t, http.StatusOK)
	if got := string(w.engine.turn().Parts[0]); got != `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"`+data+`"}}` {
		t.Errorf("part = %.100s… of %d bytes", got, len(got))
	}
}

func TestIsBase64(t *testing.T) {
	for text, want := range map[string]bool{
		"aGk=": true, "aGk": true, "aA==": true, "aA": true, "aGVs": true, "+/+/": true,
		"a": false, "aGk==": false, "aA=": false, "=": false, "a===": false, "aG=k": false, "aGk\n": false, " aGk": false, "aGkä": false, "aGVsa": false,
	} {
		if got := api.IsBase64(text); got != want {
			t.Errorf("%q is base64: %t, want %t", text, got, want)
		}
	}
}

func TestMessageNeedsAReadySession(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	creating := w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	dead := w.newSession(t, agent)
	w.do(t, "DELETE", sessions+"/"+dead, nil).want(t, 204)
	for _, id := range []string{creating, dead} {
		w.do(t, "POST", sessions+"/"+id+"/message", `{"text": "x"}`).wantError(t, 404, "session "+id+" not found or not ready")
		w.do(t, "POST", sessions+"/"+id+"/message", `{}`).want(t, 400) // the body is looked at before the state
	}
	terminal := w.newSession(t, w.newAgent(t, `"harness_id": "claude-code"`))
	w.do(t, "POST", sessions+"/"+terminal+"/message", `{"text": "x"}`).wantError(t, 400, "tty_url")
}

func TestListMessages(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	if r := w.do(t, "GET", sessions+"/"+id+"/messages", nil).want(t, 200); strings.TrimSpace(r.body) != `{"data":[],"total":0,"limit":50,"offset":0}` {
		t.Errorf("empty = %s", r.body)
	}
	var thread []json.RawMessage
	for n := range 3 {
		thread = append(thread, json.RawMessage(fmt.Sprintf(`{"info":{"id":"m%d"},"parts":[{"text":"<&>"}]}`, n)))
	}
	w.engine.answer(thread, nil)
	tests := []struct{ query, want string }{
		{"", "[\"m0\",\"m1\",\"m2\"]"},
		{"?order=asc", "[\"m0\",\"m1\",\"m2\"]"},
		{"?order=DESC", "[\"m0\",\"m1\",\"m2\"]"},
		{"?order=desc", "[\"m2\",\"m1\",\"m0\"]"},
		{"?order=desc&limit=1&offset=1", "[\"m1\"]"},
		{"?limit=2", "[\"m0\",\"m1\"]"},
		{"?offset=2", "[\"m2\"]"},
		{"?offset=3", "[]"},
		{"?offset=99999999999999999999", "[]"},
	}
	for _, tt := range tests {
		r := w.do(t, "GET", sessions+"/"+id+"/messages"+tt.query, nil).want(t, 200)
		if got := r.get("data.#.info.id").Raw; got != tt.want || r.get("total").Int() != 3 {
			t.Errorf("%s: %s, total %s, want %s", tt.query, got, r.get("total"), tt.want)
		}
	}
	if r := w.do(t, "GET", sessions+"/"+id+"/messages", nil); !strings.Contains(r.body, string(thread[0])) {
		t.Errorf("messages are not as the engine gave them: %s", r.body)
	}
}
