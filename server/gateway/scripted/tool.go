package scripted

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// tool is what a request offers to do.
type tool struct {
	name      string
	kind      string // of the responses wire; "" and "function" are called with JSON
	namespace string // of the responses wire; mostly ""
	schema    span   // of its arguments; may be missing
}

// Kinds of tools of the responses wire that are not called as functions are.
const (
	kindCustom     = "custom"      // takes text as it is
	kindLocalShell = "local_shell" // runs a command, by this name
)

// addTool takes in a tool on offer, unless there are too many.
func (r *request) addTool(t tool) error {
	if len(r.tools) == maxTools {
		return fmt.Errorf("more than %d tools", maxTools)
	}
	r.tools = append(r.tools, t)
	return nil
}

// tool returns what is on offer under a name, in whatever case; nil: nothing.
func (r *request) tool(name string) *tool {
	i := slices.IndexFunc(r.tools, func(t tool) bool { return strings.EqualFold(t.name, name) })
	if i < 0 {
		return nil
	}
	return &r.tools[i]
}

// shells are the names under which harnesses offer to run commands.
var shells = []string{"bash", "shell", "exec_command", "shell_command", kindLocalShell}

// shell is the tool on offer that runs commands, or nil.
func (r *request) shell() *tool {
	for _, name := range shells {
		if t := r.tool(name); t != nil && t.kind != kindCustom {
			return t
		}
	}
	return nil
}

// run is the call by which a shell runs command. What its arguments look like follows
// from its schema or, without, from its name.
func (t *tool) run(command string) call {
	var schema struct {
		Properties struct {
			Command *struct {
				Type string `json:"type"`
			} `json:"command"`
			Cmd         span `json:"cmd"`
			Description span `json:"description"`
		} `json:"properties"`
	}
	_ = json.Unmarshal(t.schema, &schema) // what has another form tells nothing
	known := schema.Properties
	name := strings.ToLower(t.name)
	args := map[string]any{}
	switch {
	case known.Command != nil && known.Command.Type == "array",
		known.Command == nil && (name == "shell" || name == kindLocalShell):
		args["command"] = []string{"bash", "-lc", command}
	case known.Command == nil && (known.Cmd != nil || name == "exec_command"):
		args["cmd"] = command
	default:
		args["command"] = command
	}
	if known.Description != nil {
		args["description"] = "Run what the user asked for"
	}
	return call{name: t.name, arguments: string(marshal(args))}
}
