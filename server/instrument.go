package server

import (
	"lap/db"
	"lap/sandbox"
)

// instruments stand between the engine and what outlives it: the database and the
// sandboxes. Without the build tag chaos there are none.
type instruments struct {
	commits db.Hook                               // nil: none
	runtime func(sandbox.Runtime) sandbox.Runtime // nil: none
}

// around is the runtime as the engine gets it.
func (i instruments) around(r sandbox.Runtime) sandbox.Runtime {
	if i.runtime == nil {
		return r
	}
	return i.runtime(r)
}
