// Package scripted answers model calls without a model: scripted/echo repeats what the
// user said and runs what it is told to, scripted/<name> plays a file.
//
// An answer depends on the request alone, so the same request gets the same bytes, and
// a conversation goes on where it was after a restart. The one exception is a turn that
// fails a few times before it answers; those failures are counted in memory.
package scripted

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"strings"
)

// Prefix starts the name of every scripted model.
const Prefix = "scripted/"

const echoName = "echo"

// Models are the scripted models of one lap.
type Models struct {
	dir      string
	log      *slog.Logger
	failures failures
}

// New makes the models whose scripts are the files <name>.yaml in dir. The folder need
// not exist, and files may come, change and go at any time.
func New(dir string, log *slog.Logger) *Models {
	return &Models{dir: dir, log: log}
}

// A Caller is who asks. It keeps apart the failures that are counted for it.
type Caller struct {
	Sandbox string      // whose pipe the request came up; may be ""
	Session string      // what the request says of itself; may be ""
	Used    func(Usage) // called with what an answer uses, before it is written; nil: nobody asks
}

// Answer answers a request body that was posted to a path below /v1 for which Answers is
// true. model is the name that the body was found to ask for, with Prefix. An error is an
// *Error, or that of ctx, and nothing has been written then. An answer that the script
// cuts ends in a panic with http.ErrAbortHandler, as a broken connection does in net/http.
func (m *Models) Answer(ctx context.Context, w http.ResponseWriter, path, model string, body []byte, from Caller) error {
	on := apis[path]
	req, err := on.parse(body)
	if err != nil {
		return err
	}
	req.model, req.seed = model, sha256.Sum256(body)
	if on.count != nil {
		return m.count(w, on, req)
	}
	a, err := m.answer(req, from)
	if err != nil {
		return err
	}
	if err := wait(ctx, a.delay); err != nil {
		return err
	}
	if a.failure != nil {
		return a.failure
	}
	if from.Used != nil {
		from.Used(a.used(req))
	}
	if req.stream {
		play(ctx, w, on, req, a)
	} else {
		writeBody(w, marshal(on.whole(req, a)), a.fault)
	}
	return nil
}

// count answers how many tokens a request has, for a model that there is.
func (m *Models) count(w http.ResponseWriter, on api, req *request) error {
	if name := strings.TrimPrefix(req.model, Prefix); name != echoName {
		if _, err := m.load(name); err != nil {
			return err
		}
	}
	writeBody(w, marshal(on.count(req.tokens())), nil)
	return nil
}

func (m *Models) answer(req *request, from Caller) (answer, error) {
	name := strings.TrimPrefix(req.model, Prefix)
	if name == echoName {
		return echo(req), nil
	}
	s, err := m.load(name)
	if err != nil {
		return answer{}, err
	}
	n, err := s.next(name, req.messages)
	if err != nil {
		return answer{}, err
	}
	t := &s.Turns[n]
	if t.Error != nil && m.failures.due(t.Error.Times, failureKey(from, req, n)) {
		return t.fail(req), nil
	}
	return t.answer(req), nil
}
