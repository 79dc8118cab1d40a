package agent

import (
	"fmt"
	"time"

	"lap/sandbox/agent/tool"
)

// nameSize is how many bytes of a tool's name are logged: a model can make one up.
const nameSize = 64

// call runs one call of the model and shows it in the current answer. It returns the
// result for the model; the error ends the turn.
func (t *turn) call(c *call) (string, error) {
	started := now()
	show := func(state ToolState) {
		state.Input = c.input()
		c.part.State = &state
		t.current.put(c.part)
	}
	show(ToolState{Status: "running", Time: &Span{Start: started}})
	res, err := t.session.tools.Run(t.ctx, tool.Call{ID: c.part.ID, Name: c.name, Args: c.args, Progress: func(output string) {
		show(ToolState{Status: "running", Metadata: &Metadata{Output: &output}, Time: &Span{Start: started}})
	}})
	over := &Span{Start: started, End: now()}
	t.note(c, res, over)
	if err != nil {
		show(ToolState{Status: "error", Error: err.Error(), Time: over})
		return t.judge(c, "Error: "+err.Error())
	}
	meta := &Metadata{Exit: res.Exit, Truncated: res.Truncated}
	if res.Exit != nil {
		meta.Output = &res.Printed
	}
	show(ToolState{Status: "completed", Output: &res.Output, Title: res.Title, Metadata: meta, Time: over})
	return t.judge(c, res.Output)
}

// note logs that a tool has ended, without what it was given and what it found, which
// may be secret.
func (t *turn) note(c *call, res tool.Result, over *Span) {
	log := t.session.agent.cfg.Log
	if res.Exit != nil {
		log = log.With("exit", *res.Exit)
	}
	log.InfoContext(t.ctx, "tool ended", "session", t.session.id, "tool", c.name[:min(len(c.name), nameSize)],
		"took", time.Duration(over.End-over.Start)*time.Millisecond)
}

// judge stops a model that makes the same call over and over.
func (t *turn) judge(c *call, result string) (string, error) {
	if same := c.name + string(c.args) + result; same == t.lastCall {
		t.repeats++
	} else {
		t.lastCall, t.repeats = same, 1
	}
	switch {
	case t.ctx.Err() != nil:
		return result, t.ctx.Err()
	case t.repeats >= repeatLimit:
		return result, fmt.Errorf("the turn was ended: the model made the same %s call %d times with the same result", c.name, t.repeats)
	case t.repeats >= repeatNudge:
		result += fmt.Sprintf("\n\nYou made this very call %d times and the result does not change. Do something else, or end with what you know.", t.repeats)
	}
	return result, nil
}
