//go:build unix

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/openai/openai-go/v3/shared"
)

// tool is what the model may call.
type tool struct {
	name, description string
	parameters        shared.FunctionParameters
	run               func(w *workspace, ctx context.Context, c call) (result, error)
}

// call is one use of a tool. progress shows output that is there so far.
type call struct {
	id       string
	args     json.RawMessage
	progress func(output string)
}

// result is what came of a call: a title for people, the output for the model, and
// metadata for programs.
type result struct {
	title, output string
	metadata      Metadata
}

// with adapts a tool that wants its arguments decoded and nothing else of the call.
func with[A any](fn func(*workspace, context.Context, A) (result, error)) func(*workspace, context.Context, call) (result, error) {
	return func(w *workspace, ctx context.Context, c call) (result, error) {
		var args A
		if err := c.decode(&args); err != nil {
			return result{}, err
		}
		return fn(w, ctx, args)
	}
}

// decode reads the arguments into v. The error is for the model.
func (c call) decode(v any) error {
	if len(bytes.TrimSpace(c.args)) == 0 {
		return nil
	}
	err := json.Unmarshal(c.args, v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("argument %q must be of type %s, not %s", wrong.Field, wrong.Type, wrong.Value)
	}
	if err != nil {
		return fmt.Errorf("the arguments are not valid JSON (%w); they may have been cut: send them again, shorter if they were long", err)
	}
	return nil
}

// input is the call's arguments as a JSON object, whatever the model wrote.
func (c *toolCall) input() json.RawMessage {
	if args := bytes.TrimSpace(c.args); len(args) > 0 && args[0] == '{' && json.Valid(args) {
		return json.RawMessage(args)
	}
	return json.RawMessage("{}")
}

// call runs one call of the model and shows it in the current answer. It returns the
// result for the model; the error ends the turn.
func (t *turn) call(c *toolCall) (string, error) {
	started := now()
	running := func(meta *Metadata) {
		c.part.State = &ToolState{Status: "running", Input: c.input(), Metadata: meta, Time: &Span{Start: started}}
		t.current.put(c.part)
	}
	running(nil)
	res, err := t.session.tools.run(t.ctx, c.name, call{id: c.part.ID, args: c.args, progress: func(output string) {
		running(&Metadata{Output: &output})
	}})
	state := &ToolState{Input: c.input(), Time: &Span{Start: started, End: now()}}
	text := res.output
	if err != nil {
		text = "Error: " + err.Error()
		state.Status, state.Error = "error", err.Error()
	} else {
		state.Status, state.Output, state.Title, state.Metadata = "completed", &res.output, res.title, &res.metadata
	}
	c.part.State = state
	t.current.put(c.part)
	return t.judge(c, text)
}

// judge stops a model that makes the same call over and over.
func (t *turn) judge(c *toolCall, text string) (string, error) {
	if t.ctx.Err() != nil {
		return text, t.ctx.Err()
	}
	switch n := t.repeats.next(c.name+string(c.args), text); {
	case n >= repeatLimit:
		return text, fmt.Errorf("the turn was ended: the model made the same %s call %d times with the same result", c.name, n)
	case n >= repeatNudge:
		text += fmt.Sprintf("\n\nYou made this very call %d times and the result does not change. Do something else, or end with what you know.", n)
	}
	return text, nil
}

// run finds and runs a tool. What the model did wrong is an error for the model.
func (w *workspace) run(ctx context.Context, name string, c call) (result, error) {
	for _, t := range toolbox() {
		if t.name == name {
			return t.run(w, ctx, c)
		}
	}
	var names []string
	for _, t := range toolbox() {
		names = append(names, t.name)
	}
	return result{}, fmt.Errorf("there is no tool %q; the tools are %s", name, strings.Join(names, ", "))
}

// toolbox returns the tools, made on first use: most runs of the program need none.
var toolbox = sync.OnceValue(func() []tool {
	return []tool{
		{
			"bash", `Run a shell command. The working directory stays as the command leaves it. Output is stdout and stderr together; long output is cut in the middle and kept whole in a file. For reading, searching and changing files use read, grep, glob and edit instead.`,
			object(must("command", "The command"),
				may("timeout", "integer", "Seconds until it is killed (default 120, at most 1800)"),
				may("description", "string", "What it does, in a few words")),
			(*workspace).runBash,
		},
		{
			"read", `Read a text file with line numbers, or list a directory. Shows up to 2000 lines; go on with offset.`,
			object(must("path", "The file or directory"),
				may("offset", "integer", "First line, counted from 1"),
				may("limit", "integer", "How many lines")),
			with((*workspace).read),
		},
		{
			"write", `Write a whole file, new or in place of an old one. Parent directories are made. To change a part of a file use edit.`,
			object(must("path", "The file"), must("content", "All of its new content")),
			with((*workspace).write),
		},
		{
			"edit", `Replace text in a file. old must be in the file exactly once, character for character, without the line numbers of read: take in some lines around it to make it unique. With replace_all every occurrence is replaced.`,
			object(must("path", "The file"), must("old", "The text to replace"),
				must("new", "The text to put there"),
				may("replace_all", "boolean", "Replace every occurrence")),
			with((*workspace).edit),
		},
		{
			"glob", `Find files by name, newest first. Patterns know *, ?, [a-z], {a,b} and ** for any directories; one without / is looked for in every directory. Leaves out .git and node_modules.`,
			object(must("pattern", "Such as **/*_test.go"), may("path", "string", "Where to look (default: working directory)")),
			with((*workspace).glob),
		},
		{
			"grep", `Search the content of files with a regular expression (RE2), line by line. Leaves out .git, node_modules, binary and very large files.`,
			object(must("pattern", "The regular expression"),
				may("path", "string", "File or directory (default: working directory)"),
				may("glob", "string", "Only files whose name fits, such as *.go"),
				may("case_insensitive", "boolean", "Take upper and lower case as the same"),
				may("context", "integer", "Lines to show around each match")),
			with((*workspace).grep),
		},
		{
			"save_memory", `Remember one rule or fact for all later sessions. Use it for lasting feedback of the user, phrased in general; not for what matters to this task only, and never for secrets.`,
			object(must("text", "What to remember"),
				may("tags", "array", "One to four words to find it by"),
				may("type", "string", "convention, constraint, reference or preference"),
				may("priority", "integer", "0 to 5, 5 for what matters most"),
				may("pinned", "boolean", "Show it in every session")),
			with((*workspace).saveMemory),
		},
		{
			"search_memory", `Search what was remembered in earlier sessions. Look before you finish work, and when the user speaks of an earlier agreement.`,
			object(may("query", "string", "Text to look for"), may("tags", "array", "Tags that must all be there")),
			with((*workspace).searchMemory),
		},
	}
})

// parameter is one argument of a tool in JSON Schema.
type parameter struct {
	name     string
	required bool
	schema   schema
}

type schema struct {
	Type        string  `json:"type"`
	Description string  `json:"description"`
	Items       *schema `json:"items,omitempty"`
}

func must(name, description string) parameter {
	p := may(name, "string", description)
	p.required = true
	return p
}

func may(name, kind, description string) parameter {
	s := schema{Type: kind, Description: description}
	if kind == "array" {
		s.Items = &schema{Type: "string", Description: "one"}
	}
	return parameter{name: name, schema: s}
}

func object(params ...parameter) shared.FunctionParameters {
	properties, required := map[string]schema{}, []string{}
	for _, p := range params {
		properties[p.name] = p.schema
		if p.required {
			required = append(required, p.name)
		}
	}
	return shared.FunctionParameters{"type": "object", "properties": properties, "required": required}
}
