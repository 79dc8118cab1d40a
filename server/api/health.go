package api

import (
	"context"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"lap/sandbox"
)

// A SandboxHealth is what runs sandboxes, and whether it can.
type SandboxHealth struct {
	Runtime string // sandbox.Docker or sandbox.Native
	Reason  string // why it is this one
	Version string // of the engine, or of the kernel
	Err     error  // why no sandbox can be made, with what to do about it; nil: they can
}

type healthReply struct {
	OK        bool   `json:"ok"`
	Runtime   string `json:"runtime,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Version   string `json:"version,omitempty"`
	Error     string `json:"error,omitempty"`
	ElapsedMS int64  `json:"elapsed_ms"`
}

// sandboxHealth answers GET /api/v1/health/sandbox, with 503 when no sandbox can be made.
func (a *API) sandboxHealth(w http.ResponseWriter, r *http.Request, _ httprouter.Params) error {
	return a.replyHealth(w, r, "")
}

// dockerHealth answers GET /api/v1/health/docker, and health/k8s for monitors that know
// only that.
func (a *API) dockerHealth(w http.ResponseWriter, r *http.Request, _ httprouter.Params) error {
	return a.replyHealth(w, r, sandbox.Docker)
}

// replyHealth tells whether sandboxes can be made, by the runtime that is wanted if one is.
func (a *API) replyHealth(w http.ResponseWriter, r *http.Request, wanted string) error {
	ctx, cancel := context.WithTimeout(r.Context(), a.timing.look)
	defer cancel()
	began := time.Now()
	h := a.cfg.Sandboxes(ctx)
	out := healthReply{OK: h.Err == nil, Runtime: h.Runtime, Reason: h.Reason, Version: h.Version, ElapsedMS: time.Since(began).Milliseconds()}
	switch {
	case h.Err != nil:
		out.Error = h.Err.Error()
	case wanted != "" && wanted != h.Runtime:
		out.OK, out.Error = false, "sandboxes of this server are "+h.Runtime+": ask /api/v1/health/sandbox"
	}
	if !out.OK {
		return reply(w, http.StatusServiceUnavailable, out)
	}
	return reply(w, http.StatusOK, out)
}
