package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"lap/server/fault"
)

// maxTimes is more than any test waits for.
const maxTimes = 1_000_000

// maxDelay is more than a test should take. A slow commit keeps all others waiting.
const maxDelay = time.Minute

// A faultReply is an armed fault on the wire.
type faultReply struct {
	Step       string `json:"step"`
	Times      int    `json:"times"`
	Error      string `json:"error,omitempty"`
	Delay      string `json:"delay,omitempty"`
	Status     int    `json:"status,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"`
	Hits       int    `json:"hits"`
	Armed      bool   `json:"armed"` // it will strike again
}

type faultsReply struct {
	Faults []faultReply `json:"faults"`
}

// listFaults answers GET /api/v1/fixture/faults.
func (a *API) listFaults(w http.ResponseWriter, _ *http.Request, _ httprouter.Params) error {
	out := faultsReply{Faults: []faultReply{}}
	for _, f := range a.cfg.Fixture.Faults().List() {
		out.Faults = append(out.Faults, faultReply{
			Step: f.Step, Times: f.Times, Error: f.Error, Delay: someDuration(f.Delay), Status: f.Status, RetryAfter: someDuration(f.RetryAfter),
			Hits: f.Hits, Armed: !f.Over(),
		})
	}
	return reply(w, http.StatusOK, out)
}

// someDuration is d as text, empty for none.
func someDuration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// armFaults answers POST /api/v1/fixture/faults.
func (a *API) armFaults(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	in, err := decode(w, r, smallBody)
	if err != nil {
		return err
	}
	if !in.has("faults") {
		in.missing("faults")
	}
	var list []fault.Fault
	for _, v := range in.Array("faults") {
		if o := v.object(); o != nil {
			list = append(list, readFault(o))
		}
	}
	if err := in.err(); err != nil {
		return err
	}
	err = a.cfg.Fixture.Faults().Arm(list)
	if errors.Is(err, fault.ErrTooMany) {
		return invalid("%s", err)
	} else if err != nil {
		return err
	}
	return a.listFaults(w, r, p)
}

func readFault(o *object) fault.Fault {
	f := fault.Fault{Step: o.Required("step")}
	if o.has("step") && f.Step != "" && !slices.Contains(fault.Steps(), f.Step) {
		o.fail("step", "%q is none of %s", clip(f.Step), strings.Join(fault.Steps(), ", "))
	}
	if n := o.Int("times", 0, maxTimes); n != nil {
		f.Times = int(*n)
	}
	if text := o.Text("error"); text != nil {
		f.Error = *text
	}
	if d := durationOf(o, "delay"); d != nil {
		if f.Delay = *d; f.Delay > maxDelay {
			o.fail("delay", "must be at most %s", maxDelay)
		}
	}
	if n := o.Int("status", http.StatusBadRequest, 599); n != nil {
		f.Status = int(*n)
	}
	if d := durationOf(o, "retry_after"); d != nil {
		f.RetryAfter = *d
	}
	for _, name := range []string{"status", "retry_after"} {
		if o.has(name) && f.Step != fault.Model {
			o.fail(name, "is for the step %s only", fault.Model)
		}
	}
	return f
}

// clearFaults answers DELETE /api/v1/fixture/faults.
func (a *API) clearFaults(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	a.cfg.Fixture.Faults().Clear()
	return a.listFaults(w, r, p)
}
