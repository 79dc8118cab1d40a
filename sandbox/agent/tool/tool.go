// Package tool is what a model can do in a sandbox: run commands, read, change and find
// files, and remember.
package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"lap/sandbox/proc"
)

// Config says where tools work. All fields but Env are required.
type Config struct {
	Dir      string       // where a Box starts
	Home     string       // HOME
	Scratch  string       // where whole outputs of long commands go; made when missing
	Env      []string     // environment of commands
	Children *proc.Table  // starts and waits for commands
	Memory   string       // URL of the memory that the memory tools use
	HTTP     *http.Client // for Memory
}

// A Set makes boxes and owns the goroutines that their commands need.
type Set struct {
	Config
	closing chan struct{}
	tasks   sync.WaitGroup
}

// NewSet returns a Set. The caller closes it.
func NewSet(c Config) *Set { return &Set{Config: c, closing: make(chan struct{})} }

// Close lets go of what commands left running in the background, which goes on without
// a reader of its output. It is called once, after the last Run.
func (s *Set) Close() {
	close(s.closing)
	s.tasks.Wait()
}

// A Box is the tools of one session. It runs one call at a time.
type Box struct {
	set *Set
	dir string
}

// Box returns a new Box.
func (s *Set) Box() *Box { return &Box{set: s, dir: s.Dir} }

// Dir is the working directory: where the last command left it.
func (b *Box) Dir() string { return b.dir }

// A Call is one use of a tool. Args should be a JSON object, but may be what a model
// wrote instead. ID is unique and marks the processes that the call starts. Progress,
// which may be nil, gets the output of a command as far as it is there.
type Call struct {
	ID, Name string
	Args     []byte
	Progress func(output string)
}

// A Result is what came of a call.
type Result struct {
	Title     string // for people
	Output    string // for the model
	Truncated bool   // Output does not hold everything
	Printed   string // by a command; Output tells how it ended, too
	Exit      *int   // of a command, 128 and the signal if it was killed
}

// Run runs a call. Its error is for the model, which may do better next time. When ctx
// ends, so does the call with all its processes.
func (b *Box) Run(ctx context.Context, c Call) (Result, error) {
	var names []string
	for _, t := range table {
		if t.Name == c.Name {
			return t.run(b, ctx, c)
		}
		names = append(names, t.Name)
	}
	return Result{}, fmt.Errorf("there is no tool %q; the tools are %s", c.Name, strings.Join(names, ", "))
}

// with adapts a tool that wants its arguments decoded and nothing else of the call.
func with[A any](fn func(*Box, context.Context, A) (Result, error)) func(*Box, context.Context, Call) (Result, error) {
	return func(b *Box, ctx context.Context, c Call) (Result, error) {
		var args A
		if err := c.decode(&args); err != nil {
			return Result{}, err
		}
		return fn(b, ctx, args)
	}
}

func (c Call) decode(args any) error {
	if len(bytes.TrimSpace(c.Args)) == 0 {
		return nil
	}
	err := json.Unmarshal(c.Args, args)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("argument %q must be of type %s, not %s", wrong.Field, wrong.Type, wrong.Value)
	}
	if err != nil {
		return fmt.Errorf("the arguments are not valid JSON (%w); they may have been cut: send them again, shorter if they were long", err)
	}
	return nil
}

// resolve makes path absolute: "~" is home, the rest starts in the working directory.
func (b *Box) resolve(path string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') {
		return filepath.Join(b.set.Home, rest)
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(b.dir, path)
}

// short is path as the tools take it: relative to the working directory if it is in there.
func (b *Box) short(path string) string {
	if rel, err := filepath.Rel(b.dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}
