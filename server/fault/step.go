package fault

import (
	"slices"
	"strings"
)

// The steps that are no calls of the engine.
const (
	Disk    = "disk"    // a commit
	Harness = "harness" // a turn that has begun to work
	Model   = "model"   // a call of a model
)

// Steps are the steps that can be made to fail.
func Steps() []string {
	return []string{
		"sandbox.ping", "sandbox.ensure", "sandbox.create", "sandbox.start", "sandbox.dial", "sandbox.pause", "sandbox.unpause",
		"sandbox.inspect", "sandbox.remove", "sandbox.list", Harness, Disk, Model,
	}
}

// tidying are writes that nobody asks for: what is left of a sandbox is put away when there
// is time. A disk that is to fail once must not do so unseen.
var tidying = []string{"CondemnSandbox", "CondemnWarmOne", "ForgetSandbox"}

// stepOf is the step that fails at a point; empty: none.
func stepOf(point string) string {
	name, before := strings.CutSuffix(point, ":before")
	if !before {
		return ""
	}
	if call, ok := strings.CutPrefix(name, "runtime."); ok {
		return "sandbox." + strings.ToLower(call)
	}
	if write, ok := strings.CutPrefix(name, "commit."); ok && !slices.Contains(tidying, write) {
		return Disk
	}
	return ""
}
