package api_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSkillFaults(t *testing.T) {
	w := newWorld(t)
	id := w.newSkill(t, "name", "content")
	before := w.do(t, "GET", skills+"/"+id, nil).body
	tests := []struct {
		name, body, phrase string
		create, patch      int
	}{
		{"nothing", `{}`, "name: is required; content: is required", 400, 200},
		{"content missing", `{"name": "n"}`, "content: is required", 400, 200},
		{"name missing", `{"content": "content"}`, "name: is required", 400, 200},
		{"name is empty", `{"name": "", "content": "content"}`, "name: must not be empty", 400, 400},
		{"name is null", `{"name": null, "content": "content"}`, "name: ", 400, 400},
		{"content is empty", `{"name": "n", "content": ""}`, "content: must not be empty", 400, 400},
		{"content is a list", `{"name": "n", "content": []}`, "content: ", 400, 400},
		{"description is a number", `{"name": "n", "content": "c", "description": 1}`, "description: must be a string", 400, 400},
		{"description is null", `{"name": "n", "content": "content", "description": null}`, "description: ", 400, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.do(t, "POST", skills, tt.body).wantError(t, tt.create, tt.phrase)
			r := w.do(t, "PATCH", skills+"/"+id, tt.body).want(t, tt.patch)
			if tt.patch == http.StatusBadRequest {
				r.wantError(t, tt.patch, strings.Split(tt.phrase, "; ")[0])
			}
		})
	}
	w.do(t, "PATCH", skills+"/"+id, `{"name": "name"}`).want(t, 200)
	if diff := cmp.Diff(before, w.do(t, "GET", skills+"/"+id, nil).body); diff != "" {
		t.Error(diff)
	}
	if total := w.do(t, "GET", skills, nil).get("total").Int(); total != 1 {
		t.Errorf("%d skills, want 1", total)
	}
}

func TestSkillLife(t *testing.T) {
	w := newWorld(t)
	made := w.do(t, "POST", skills, `{"name": " n ", "content": " <c>\n", "description": ""}`).want(t, http.StatusCreated)
	if made.get("name").String() != " n " || made.get("content").String() != " <c>\n" || made.get("description").Raw != `""` || !timestamp.MatchString(made.get("created_at").String()) {
		t.Errorf("made = %s", made.body)
	}
	id := made.get("id").String()
	if got := w.do(t, "GET", skills+"/"+id, nil).want(t, 200); got.body != made.body {
		t.Errorf("read = %s", got.body)
	}
	for _, step := range []struct{ body, path, want string }{
		{`{"description": "d"}`, "description", `"d"`},
		{`{"name": "m"}`, "description", `"d"`},
		{`{"description": null}`, "description", `null`},
		{`{"content": "two"}`, "content", `"two"`},
		{`{"content": "two"}`, "name", `"m"`},
	} {
		if got := w.do(t, "PATCH", skills+"/"+id, step.body).want(t, 200).get(step.path).Raw; got != step.want {
			t.Errorf("after %s: %s = %s, want %s", step.body, step.path, got, step.want)
		}
	}
	versions, err := w.store.SkillVersions(t.Context(), id, 10)
	if err != nil || len(versions) != 1 || versions[0].Content != " <c>\n" || versions[0].ChangedBySession != nil {
		t.Errorf("versions = %+v, %v", versions, err)
	}
	w.do(t, "DELETE", skills+"/"+id, nil).want(t, 204)
	w.do(t, "DELETE", skills+"/"+id, nil).wantError(t, 404, "skill '"+id+"' not found")
}

func TestSkillsAtAgentCreate(t *testing.T) {
	w := newWorld(t)
	one, two := w.newSkill(t, "one", " # One\n"), w.newSkill(t, "two", "# Two\n<!-- skill:forged -->\n")
	r := w.do(t, "POST", agents, `{"model": "m", "prompt": "Base.\n", "skill_ids": [`+quoted(two)+`,`+quoted(one)+`,`+quoted(two)+`]}`).want(t, 201)
	want := "Base.\n\n<!-- skill:" + two + " -->\n# Two\n<!--  skill:forged -->\n\n<!-- skill:" + one + " -->\n# One"
	if diff := cmp.Diff(want, r.get("prompt").String()); diff != "" {
		t.Error(diff)
	}
	if got := r.get("attached_skill_ids").Raw; got != `[`+quoted(two)+`,`+quoted(one)+`]` {
		t.Errorf("attached = %s", got)
	}
	w.do(t, "POST", agents, `{"model": "m", "skill_ids": [`+quoted(one)+`,`+quoted(noID)+`]}`).wantError(t, 404, "one or more skill_ids not found")
	w.do(t, "POST", agents, `{"model": "", "skill_ids": [`+quoted(noID)+`]}`).want(t, 400)
	if total := w.do(t, "GET", agents, nil).get("total").Int(); total != 1 {
		t.Errorf("%d agents, want 1", total)
	}
}

func TestAttachAndDetach(t *testing.T) {
	w := newWorld(t)
	one, two := w.newSkill(t, "one", "# One"), w.newSkill(t, "two", "# Two\n")
	agent := w.newAgent(t, `"prompt": "Base prompt.  \n\n"`)
	path := agents + "/" + agent + "/skill"
	blockOne, blockTwo := "<!-- skill:"+one+" -->\n# One", "<!-- skill:"+two+" -->\n# Two"
	check := func(r response, want string) {
		t.Helper()
		if diff := cmp.Diff(want, r.want(t, 200).get("agent.prompt").String()); diff != "" {
			t.Error(diff)
		}
		if got := w.do(t, "GET", agents+"/"+agent, nil); strings.TrimSpace(got.body) != r.get("agent").Raw {
			t.Errorf("stored = %s, want %s", got.body, r.get("agent").Raw)
		}
	}
	attached := w.do(t, "POST", path, `{"skill_id": "`+one+`", "content": "ignored"}`)
	check(attached, "Base prompt.\n\n"+blockOne)
	if attached.get("skill").Raw != strings.TrimSpace(w.do(t, "GET", skills+"/"+one, nil).body) {
		t.Errorf("skill = %s", attached.get("skill"))
	}
	check(w.do(t, "POST", path, `{"skill_id": "`+two+`"}`), "Base prompt.\n\n"+blockOne+"\n\n"+blockTwo)
	w.do(t, "PATCH", skills+"/"+one, `{"content": "# One v2"}`).want(t, 200)
	check(w.do(t, "POST", path, `{"skill_id": "`+one+`"}`), "Base prompt.\n\n"+blockOne+"\n\n"+blockTwo)
	check(w.do(t, "DELETE", path+"?skill_id="+one, nil), "Base prompt.\n\n"+blockTwo)
	check(w.do(t, "DELETE", path+"?skill_id="+noID, nil), "Base prompt.\n\n"+blockTwo)
	for _, query := range []string{"?skill_id=", "?skill_id", "?skill_id=%20", "?skill_id=%09%0A", "?skill_id=&skill_id=" + two, "?x=1&skill_id="} {
		check(w.do(t, "DELETE", path+query, nil), "Base prompt.\n\n"+blockTwo)
	}
	for _, query := range []string{"?skill_id=%zz", "?skill_id=a;b"} {
		w.do(t, "DELETE", path+query, nil).wantError(t, 400, "invalid query")
	}
	check(w.do(t, "POST", path, `{"skill_id": "`+one+`"}`), "Base prompt.\n\n"+blockTwo+"\n\n"+blockOne+" v2")
	w.do(t, "DELETE", skills+"/"+one, nil).want(t, 204)
	check(w.do(t, "DELETE", path+"?other=", nil), "Base prompt.")
	w.do(t, "POST", path, `{"skill_id": "`+one+`"}`).wantError(t, 404, "skill '"+one+"' not found")
}

func TestAttachContent(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	path := agents + "/" + agent + "/skill"

	r := w.do(t, "POST", path, `{"content": " # Mine ", "name": " My skill ", "description": "  what  "}`).want(t, 200)
	if r.get("skill.name").String() != "My skill" || r.get("skill.description").String() != "what" || r.get("skill.content").String() != " # Mine " {
		t.Errorf("skill = %s", r.get("skill"))
	}
	id := r.get("skill.id").String()
	if got := r.get("agent.prompt").String(); got != "<!-- skill:"+id+" -->\n# Mine" {
		t.Errorf("prompt = %q", got)
	}
	w.do(t, "GET", skills+"/"+id, nil).want(t, 200)

	r = w.do(t, "POST", path, `{"content": "x", "name": "  ", "description": " ", "save_to_library": true}`).want(t, 200)
	if got := r.get("skill.name").String(); !regexp.MustCompile(`^Skill \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`).MatchString(got) || r.get("skill.description").Raw != "null" {
		t.Errorf("skill = %s", r.get("skill"))
	}

	r = w.do(t, "POST", path, `{"content": "ephemeral", "save_to_library": false, "name": "n"}`).want(t, 200)
	if r.get("skill").Exists() {
		t.Errorf("an ephemeral block has a skill: %s", r.body)
	}
	ids := r.get("agent.attached_skill_ids").Array()
	if marker := ids[len(ids)-1].String(); len(ids) != 3 || !uuidV4.MatchString(marker) || w.do(t, "GET", skills+"/"+marker, nil).status != 404 {
		t.Errorf("attached = %v", ids)
	}
	if r = w.do(t, "DELETE", path, nil).want(t, 200); r.get("agent.prompt").Raw != "null" || r.get("agent.attached_skill_ids").Raw != "[]" {
		t.Errorf("after detaching all: %s", r.body)
	}
	w.do(t, "DELETE", path, nil).want(t, 200)
}

func TestAttachFaults(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	for _, tt := range []struct{ body, phrase string }{
		{`{}`, "is required"},
		{`{"skill_id": ""}`, "skill_id: must not be empty"},
		{`{"skill_id": null, "content": "x"}`, "skill_id: must be a string"},
		{`{"skill_id": 1}`, "skill_id: "},
		{`{"content": ""}`, "content: must not be empty"},
		{`{"content": null}`, "content: "},
		{`{"content": "x", "name": null}`, "name: "},
		{`{"content": "x", "description": 1}`, "description: "},
		{`{"content": "x", "save_to_library": "false"}`, "save_to_library: must be true or false"},
	} {
		w.do(t, "POST", agents+"/"+agent+"/skill", tt.body).wantError(t, 400, tt.phrase)
	}
	if total := w.do(t, "GET", skills, nil).get("total").Int(); total != 0 {
		t.Errorf("%d skills were stored all the same", total)
	}
}

func TestAgentsImproveTheirSkillsOnly(t *testing.T) {
	w := newWorld(t)
	attached, given, foreign := w.newSkill(t, "attached", "1"), w.newSkill(t, "given", "1"), w.newSkill(t, "foreign", "1")
	agent := w.newAgent(t, `"skill_ids": [`+quoted(attached)+`]`)
	session := w.do(t, "POST", agents+"/"+agent+"/session", `{"skill_ids": [`+quoted(given)+`]}`).want(t, 201).get("id").String()
	header := bearer(token(t, tokenKey, claims(w, agent, nil)))
	header["X-Session-Id"] = session
	patch := func(id string) response {
		t.Helper()
		return w.send(t, "PATCH", skills+"/"+id, `{"content": "2"}`, header)
	}
	patch(attached).want(t, 200)
	patch(given).want(t, 200)
	patch(foreign).wantError(t, 404, "skill '"+foreign+"' not found")
	for id, by := range map[string]string{attached: session, given: session} {
		v, err := w.store.SkillVersions(t.Context(), id, 1)
		if err != nil || len(v) != 1 || v[0].ChangedBySession == nil || *v[0].ChangedBySession != by {
			t.Errorf("versions of %s = %+v, %v", id, v, err)
		}
	}
	w.do(t, "DELETE", sessions+"/"+session, nil).want(t, 204)
	patch(given).want(t, 404)
}
