package server

import (
	"lap/db"
	"lap/sandbox"
	"lap/server/fault"
)

// instruments stand between the engine and what outlives it: the database and the
// sandboxes. Without Settings.Fixture and the build tag chaos there are none.
type instruments struct {
	commits db.Hook                               // nil: none
	runtime func(sandbox.Runtime) sandbox.Runtime // nil: none
}

// instrument puts points around every commit and every call of the runtime, at which
// someone can order a fault; none when nobody can.
func instrument(orders fault.All) instruments {
	if len(orders) == 0 {
		return instruments{}
	}
	return instruments{
		commits: fault.NewCommits(orders),
		runtime: func(r sandbox.Runtime) sandbox.Runtime { return fault.NewRuntime(r, orders) },
	}
}

// around is the runtime as the engine gets it.
func (i instruments) around(r sandbox.Runtime) sandbox.Runtime {
	if i.runtime == nil {
		return r
	}
	return i.runtime(r)
}
