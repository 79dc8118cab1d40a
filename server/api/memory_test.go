package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMemoryFaults(t *testing.T) {
	w := newWorld(t)
	path := agents + "/" + w.newAgent(t) + "/memory"
	id := w.do(t, "POST", path, `{"text": "t"}`).want(t, 201).get("id").String()
	tests := []struct {
		name, member, phrase string
	}{
		{"text is empty", `"text": ""`, "text: must not be empty"},
		{"text is null", `"text": null`, "text: "},
		{"text is a number", `"text": 1`, "text: must be a string"},
		{"tags is text", `"tags": "a"`, "tags: must be an array"},
		{"tags is null", `"tags": null`, "tags: "},
		{"nine tags", `"tags": ["1","2","3","4","5","6","7","8","9"]`, "tags: at most 8"},
		{"a tag is a number", `"tags": ["a", 1]`, "tags.1: must be a string"},
		{"type is null", `"type": null`, "type: "},
		{"priority is text", `"priority": "1"`, "priority: must be an integer"},
		{"priority is a fraction", `"priority": 0.5`, "priority: "},
		{"priority is null", `"priority": null`, "priority: "},
		{"priority is too large", `"priority": 9007199254740992`, "priority: is too large: must be an integer from -9007199254740991 to 9007199254740991"},
		{"priority is huge", `"priority": 1e300`, "priority: is too large"},
		{"priority is beyond every float", `"priority": 1e999999999999999999999`, "priority: is too large"},
		{"priority is too small", `"priority": -9007199254740992.0`, "priority: is too small"},
		{"priority is a tiny fraction", `"priority": 1e-400`, "priority: must be an integer"},
		{"priority is almost an integer", `"priority": 1.00000000000000000000001`, "priority: must be an integer"},
		{"pinned is a number", `"pinned": 1`, "pinned: must be true or false"},
		{"pinned is text", `"pinned": "true"`, "pinned: "},
		{"pinned is null", `"pinned": null`, "pinned: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := "{" + tt.member + "}"
			if !strings.Contains(body, `"text":`) {
				body = `{"text": "t", ` + tt.member + "}"
			}
			w.do(t, "POST", path, body).wantError(t, http.StatusBadRequest, tt.phrase)
			w.do(t, "PATCH", path+"/"+id, body).wantError(t, http.StatusBadRequest, tt.phrase)
		})
	}
	w.do(t, "POST", path, `{}`).wantError(t, 400, "text: is required")
	w.do(t, "PATCH", path+"/"+id, `{"disabled": "yes"}`).wantError(t, 400, "disabled: must be true or false")
	for _, source := range []string{`"robot"`, `null`, `1`, `""`} {
		w.do(t, "POST", path, `{"text": "t", "source": `+source+`}`).wantError(t, 400, "source: ")
	}
	for _, name := range []string{"source_user_id", "source_session_id", "source_thread_ts"} {
		w.do(t, "POST", path, `{"text": "t", "`+name+`": null}`).wantError(t, 400, name+": ")
	}
	if total := w.do(t, "GET", path, nil).get("total").Int(); total != 1 {
		t.Errorf("%d memories, want 1", total)
	}
}

func TestMemoryLife(t *testing.T) {
	w := newWorld(t)
	agent, other := w.newAgent(t), w.newAgent(t)
	path := agents + "/" + agent + "/memory"
	r := w.do(t, "POST", path, `{"text": "t"}`).want(t, 201)
	for name, want := range map[string]string{
		"agent_id": quoted(agent), "text": `"t"`, "tags": `[]`, "type": `"convention"`, "priority": `0`, "pinned": `false`, "disabled": `false`,
		"times_applied": `0`, "last_applied_at": `null`, "source": `"ui"`, "source_user_id": `null`, "source_session_id": `null`, "source_thread_ts": `null`,
	} {
		if got := r.get(name).Raw; got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	r = w.do(t, "POST", path, `{"text": "t", "tags": ["a", "a"], "type": "", "priority": -3.0, "pinned": true, "disabled": true,
		"source": "slack", "source_user_id": "u", "source_session_id": "s", "source_thread_ts": "1.2"}`).want(t, 201)
	for name, want := range map[string]string{
		"tags": `["a","a"]`, "type": `""`, "priority": `-3`, "pinned": `true`, "disabled": `false`,
		"source": `"slack"`, "source_user_id": `"u"`, "source_session_id": `"s"`, "source_thread_ts": `"1.2"`,
	} {
		if got := r.get(name).Raw; got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	one := path + "/" + r.get("id").String()
	if got := w.do(t, "PATCH", one, `{"source": "ui"}`).want(t, 200); got.body != r.body {
		t.Errorf("a PATCH of nothing changed %s to %s", r.body, got.body)
	}
	got := w.do(t, "PATCH", one, `{"text": "new", "tags": [], "type": "rule", "priority": 7, "pinned": false, "disabled": true}`).want(t, 200)
	want := strings.NewReplacer(`"text":"t"`, `"text":"new"`, `"tags":["a","a"]`, `"tags":[]`, `"type":""`, `"type":"rule"`, `"priority":-3`, `"priority":7`,
		`"pinned":true`, `"pinned":false`, `"disabled":false`, `"disabled":true`, `"updated_at":`+r.get("updated_at").Raw, `"updated_at":`+got.get("updated_at").Raw).Replace(r.body)
	if diff := cmp.Diff(want, got.body); diff != "" || got.get("updated_at").String() <= r.get("updated_at").String() {
		t.Error(diff)
	}
	foreign := strings.Replace(one, agent, other, 1)
	for _, method := range []string{"PATCH", "DELETE"} {
		w.do(t, method, foreign, `{}`).wantError(t, 404, "memory '", "' not found")
	}
	w.do(t, "DELETE", one, nil).want(t, 204)
	w.do(t, "DELETE", one, nil).want(t, 404)
	w.do(t, "PATCH", one, `{}`).want(t, 404)
}

func TestMemorySearch(t *testing.T) {
	w := newWorld(t)
	path := agents + "/" + w.newAgent(t) + "/memory"
	for _, body := range []string{
		`{"text": "Always run GOFMT", "tags": ["go", "style"], "priority": 1}`, `{"text": "100% coverage", "tags": ["go"], "priority": 5}`,
		`{"text": "a_b", "tags": ["Go"]}`, `{"text": "off", "tags": ["go"], "priority": 9}`,
	} {
		w.do(t, "POST", path, body).want(t, 201)
	}
	off := w.do(t, "GET", path, nil).get("data.0.id").String()
	w.do(t, "PATCH", path+"/"+off, `{"disabled": true}`).want(t, 200)
	tests := []struct{ name, query, want string }{
		{"all, best first", "", "100% coverage|Always run GOFMT|a_b"},
		{"blank", "?q=%20%20&tag=%20", "100% coverage|Always run GOFMT|a_b"},
		{"tag", "?tag=go", "100% coverage|Always run GOFMT"},
		{"tag minds letter case", "?tag=Go", "a_b"},
		{"tag is no substring", "?tag=g", ""},
		{"two tags", "?tag=go&tag=style", "Always run GOFMT"},
		{"disabled too", "?include_disabled=true", "off|100% coverage|Always run GOFMT|a_b"},
		{"disabled only for true", "?include_disabled=1", "100% coverage|Always run GOFMT|a_b"},
		{"page", "?limit=1&offset=1", "Always run GOFMT"},
		{"text", "?q=gofmt", "Always run GOFMT"},
		{"percent", "?q=%25", "100% coverage"},
		{"underscore", "?q=_", "a_b"},
		{"backslash", "?q=%5C", ""},
		{"text and tag", "?q=a&tag=go", "100% coverage|Always run GOFMT"},
		{"disabled text", "?q=off&include_disabled=true", "off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do(t, "GET", path+tt.query, nil).want(t, 200)
			var got []string
			for _, text := range r.get("data.#.text").Array() {
				got = append(got, text.String())
			}
			if strings.Join(got, "|") != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
	uses := map[string]string{}
	for _, m := range w.do(t, "GET", path+"?include_disabled=true", nil).get("data").Array() {
		uses[m.Get("text").String()] = fmt.Sprint(m.Get("times_applied"), m.Get("last_applied_at").Raw != "null", m.Get("created_at").String() == m.Get("updated_at").String())
	}
	want := map[string]string{"Always run GOFMT": "2 true true", "100% coverage": "2 true true", "a_b": "1 true true", "off": "0 false false"}
	if diff := cmp.Diff(want, uses); diff != "" {
		t.Errorf("uses: %s", diff)
	}
}

func TestSearchShowsValuesFromBefore(t *testing.T) {
	w := newWorld(t)
	path := agents + "/" + w.newAgent(t) + "/memory"
	w.do(t, "POST", path, `{"text": "x"}`).want(t, 201)
	for want := range int64(3) {
		if got := w.do(t, "GET", path+"?q=X", nil).get("data.0.times_applied").Int(); got != want {
			t.Errorf("times_applied = %d, want %d", got, want)
		}
	}
}
