package session_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/db"
	"lap/server/session"
)

func TestPasswordsInRequirements(t *testing.T) {
	tests := []struct {
		name, text string
		want       string            // <n> stands for the stub of REQUIREMENTS_n
		values     map[string]string // by name: value, a blank, hosts
	}{
		{"none", "requests==2.0\nhttps://x.example/a@b.whl\n", "requests==2.0\nhttps://x.example/a@b.whl\n", nil},
		{"index", "-i https://u:p%40ss@index.example:8443/simple\nx", "-i https://u:<1>@index.example:8443/simple\nx", map[string]string{"REQUIREMENTS_1": "p@ss index.example"}},
		{"extra index", "--extra-index-url=HTTPS://tok@Index.example/simple", "--extra-index-url=HTTPS://<1>@Index.example/simple", map[string]string{"REQUIREMENTS_1": "tok index.example"}},
		{"git", "git+https://tok@git.example/o/r@v1#egg=r", "git+https://<1>@git.example/o/r@v1#egg=r", map[string]string{"REQUIREMENTS_1": "tok git.example"}},
		{"git over ssh", "git+ssh://git@git.example/o/r", "git+ssh://git@git.example/o/r", nil},
		{"direct", "name @ https://tok@host.example/x.whl ; python_version > '3'", "name @ https://<1>@host.example/x.whl ; python_version > '3'", map[string]string{"REQUIREMENTS_1": "tok host.example"}},
		{"direct without blanks", "name@http://u:p@host.example/x.whl", "name@http://u:<1>@host.example/x.whl", map[string]string{"REQUIREMENTS_1": "p host.example"}},
		{"GitHub's way", "https://tok:x-oauth-basic@github.com/o/r", "https://<1>:x-oauth-basic@github.com/o/r", map[string]string{"REQUIREMENTS_1": "tok github.com"}},
		{"empty password", "https://tok:@host.example/", "https://<1>:@host.example/", map[string]string{"REQUIREMENTS_1": "tok host.example"}},
		{"empty user", "https://@host.example/ https://:@host.example/", "https://@host.example/ https://:@host.example/", nil},
		{"variable", "https://u:${PASS}@host.example/ https://${TOK}@host.example/", "https://u:${PASS}@host.example/ https://${TOK}@host.example/", nil},
		{"variable for the user", "https://${U}:p@host.example/", "https://${U}:<1>@host.example/", map[string]string{"REQUIREMENTS_1": "p host.example"}},
		{"no variable", "https://u:${p@host.example/", "https://u:<1>@host.example/", map[string]string{"REQUIREMENTS_1": "${p host.example"}},
		{"signs", `https://u:a'b"c@d:e%zz@host.example`, `https://u:<1>@host.example`, map[string]string{"REQUIREMENTS_1": `a'b"c@d:e%zz host.example`}},
		{"quoted", `-i "https://tok@host.example"`, `-i "https://<1>@host.example"`, map[string]string{"REQUIREMENTS_1": "tok host.example"}},
		{"address of IPv6", "https://tok@[::1]:8080/x", "https://<1>@[::1]:8080/x", map[string]string{"REQUIREMENTS_1": "tok "}},
		{"host is a variable", "https://tok@${HOST}/x", "https://<1>@${HOST}/x", map[string]string{"REQUIREMENTS_1": "tok "}},
		{"several", "-i https://u:a@x.example/\nhttps://u:b@x.example/ https://v:a@x.example/ https://u:a@y.example/", "-i https://u:<1>@x.example/\nhttps://u:<2>@x.example/ https://v:<1>@x.example/ https://u:<3>@y.example/", map[string]string{
			"REQUIREMENTS_1": "a x.example", "REQUIREMENTS_2": "b x.example", "REQUIREMENTS_3": "a y.example",
		}},
	}
	w := newWorld(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.edit(t, func(a *db.Agent) { a.SetRequirements(&tt.text) })
			s := w.ready(t)
			p, err := session.Policy(w.Engine, t.Context(), s.ID)
			if err != nil {
				t.Fatal(err)
			}
			want, values := tt.want, map[string]string{}
			for _, c := range p.Credentials {
				values[c.Name] = c.Value + " " + hostsOf(c)
				want = strings.ReplaceAll(want, "<"+strings.TrimPrefix(c.Name, "REQUIREMENTS_")+">", c.Stub)
				if c.Anywhere || (len(c.Hosts) == 0) != (c.Reason != "") {
					t.Errorf("credential = %+v", c)
				}
			}
			if tt.values == nil {
				tt.values = map[string]string{}
			}
			if diff := cmp.Diff(tt.values, values); diff != "" {
				t.Error(diff)
			}
			w.runtime.do(*s.ContainerID, func(b *fakeBox) {
				if b.boot.Requirements != want || b.boot.Env["AGENT_REQUIREMENTS"] != want {
					t.Errorf("requirements %q and %q, want %q", b.boot.Requirements, b.boot.Env["AGENT_REQUIREMENTS"], want)
				}
				if _, has := b.boot.Env["REQUIREMENTS_1"]; has {
					t.Error("a credential of requirements is a variable, too")
				}
			})
			names, err := w.VaultKeys(t.Context(), s)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(tt.values)), names); diff != "" || err != nil {
				t.Errorf("vault keys: %s %v", diff, err)
			}
		})
	}
}

// Stubs stay what they are when lap starts again, and a variable of the same name is another.
func TestRequirementsOutliveTheProcess(t *testing.T) {
	w := newWorld(t, nil)
	text := "-i https://u:secret@index.example/simple"
	w.edit(t, func(a *db.Agent) {
		a.SetRequirements(&text)
		a.SetEnv(map[string]string{"REQUIREMENTS_1": "another"})
	})
	s := w.ready(t)
	stubs := func() (list []string) {
		t.Helper()
		eventually(t, func() error {
			p, err := session.Policy(w.Engine, t.Context(), s.ID)
			list = nil
			for _, c := range p.Credentials {
				list = append(list, c.Value+" "+c.Stub)
			}
			return err
		})
		return list
	}
	before := stubs()
	w.restart(t)
	if diff := cmp.Diff(before, stubs()); diff != "" || len(before) != 2 || strings.TrimPrefix(before[0], "another ") == strings.TrimPrefix(before[1], "secret ") {
		t.Errorf("%s: %s", before, diff)
	}
	advice := strings.Join(w.Advice(w.agent), "\n")
	if strings.Contains(advice, "in requirements") {
		t.Errorf("advice = %s", advice)
	}
	text = "https://tok@[::1]/x"
	w.edit(t, func(a *db.Agent) { a.SetRequirements(&text) })
	if advice := strings.Join(w.Advice(w.agent), "\n"); !strings.Contains(advice, "REQUIREMENTS_1, a password in requirements, goes to no host") {
		t.Errorf("advice = %s", advice)
	}
}
