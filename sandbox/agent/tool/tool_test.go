package tool_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"lap/sandbox/agent/tool"
	"lap/sandbox/proc"
)

// fixture is a box with a working tree.
type fixture struct {
	t *testing.T
	tool.Config
	box   *tool.Box
	calls atomic.Int64
}

// start makes a fixture. change, if not nil, changes its configuration first.
func start(t *testing.T, change func(*tool.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, Config: tool.Config{
		Dir: t.TempDir(), Home: t.TempDir(), Scratch: filepath.Join(t.TempDir(), "scratch"),
		Env: []string{"PATH=" + os.Getenv("PATH")}, Children: proc.NewTable(), HTTP: http.DefaultClient,
	}}
	if change != nil {
		change(&f.Config)
	}
	set := tool.NewSet(f.Config)
	t.Cleanup(set.Close)
	f.box = set.Box()
	return f
}

// run runs a tool.
func (f *fixture) run(name, args string) (tool.Result, error) {
	id := fmt.Sprint(f.t.Name(), f.calls.Add(1))
	return f.box.Run(f.t.Context(), tool.Call{ID: id, Name: name, Args: []byte(args)})
}

// outcome runs a tool and returns what the model sees of it.
func (f *fixture) outcome(name, args string) string {
	res, err := f.run(name, args)
	if err != nil {
		return "error: " + err.Error()
	}
	return res.Output
}

// bash runs a command.
func (f *fixture) bash(command string) tool.Result {
	f.t.Helper()
	res, err := f.run("bash", `{"command":`+quote(command)+`}`)
	if err != nil {
		f.t.Fatal(err)
	}
	return res
}

func (f *fixture) write(name, content string) {
	f.t.Helper()
	write(f.t, filepath.Join(f.Dir, name), content)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func quote(s string) string {
	b, _ := json.Marshal(s) // strings always encode
	return string(b)
}

func TestDefinitions(t *testing.T) {
	t.Parallel()
	var names []string
	for _, d := range tool.Definitions() {
		names = append(names, d.Name)
		var schema struct {
			Type       string
			Required   []string
			Properties map[string]struct{ Type, Description string }
		}
		if err := json.Unmarshal(d.Parameters, &schema); err != nil || schema.Type != "object" || d.Description == "" {
			t.Errorf("%s: %v, %+v", d.Name, err, schema)
		}
		for _, name := range schema.Required {
			if _, ok := schema.Properties[name]; !ok {
				t.Errorf("%s requires %s, which it does not describe", d.Name, name)
			}
		}
		for name, p := range schema.Properties {
			if p.Type == "" || p.Description == "" {
				t.Errorf("%s does not describe %s", d.Name, name)
			}
		}
	}
	if want := "bash read write edit glob grep save_memory search_memory"; strings.Join(names, " ") != want {
		t.Errorf("tools = %v, want %s", names, want)
	}
}

func TestCallsThatCannotRun(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	tests := []struct{ name, args, want string }{
		{"nope", `{}`, `there is no tool "nope"; the tools are bash, read, write, edit, glob, grep, save_memory, search_memory`},
		{"bash", `{"command":`, "the arguments are not valid JSON (unexpected end of JSON input); they may have been cut: send them again, shorter if they were long"},
		{"bash", `{"command":7}`, `argument "command" must be of type string, not number`},
		{"bash", ` `, "command is missing"},
		{"bash", `null`, "command is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.args, func(t *testing.T) {
			t.Parallel()
			if got := f.outcome(tt.name, tt.args); got != "error: "+tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
