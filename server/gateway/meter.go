package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"lap/sandbox/pipe"
)

// A Meter says which calls of models may be made, and learns what they used. Calls come
// at once.
type Meter interface {
	// Admit is called before a call of a model. The call is not made when it returns an
	// error; the text of a *RefusalError is what the sandbox is told.
	Admit(ctx context.Context, sandbox, model string) error
	// Count is called exactly once for each call that was admitted, when it has ended,
	// however that was. ctx outlives the call.
	Count(ctx context.Context, sandbox, model string, u Usage)
}

// A Usage is what one call of a model used. Tokens read from or written to a provider's
// cache are part of InputTokens. The zero Usage is that of a call that failed.
type Usage struct {
	Calls            int64 // 1, or 0 when the call failed
	InputTokens      int64
	OutputTokens     int64
	CacheReadTokens  int64
	CacheWriteTokens int64
	Estimated        bool    // the answer did not tell, or was cut before it did
	Cost             float64 // US dollars, as the model gateway told it; 0: it did not
}

// A RefusalError says why a call may not be made.
type RefusalError struct{ Message string }

func (r *RefusalError) Error() string { return r.Message }

// What cannot be counted is refused.
var (
	errBackground  = uncountable("unsupported_background", "responses in the background are not open to sandboxes, as what they use cannot be counted: ask without background")
	errOtherModels = uncountable("unsupported_fallbacks", "models and fallbacks are not open to sandboxes, as it is not known which model will be charged for: name one model")
	errManyStreams = uncountable("ambiguous_stream", "the request says more than once whether to stream: say it once")
	errManyModels  = uncountable("ambiguous_model", "the request names more than one model: name one")
)

func uncountable(code, message string) *apiError {
	return &apiError{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: code, Message: message}
}

var errMeter = &apiError{
	Status: http.StatusServiceUnavailable, Type: "server_error", Code: "budget_unknown",
	Message: "whether this call is within its budget cannot be told just now: see the log of lap serve",
}

// call is a call on its way to its answer.
type call struct {
	target
	ctx     context.Context // of the request, but without its end
	meter   Meter           // nil: the call is not counted
	sandbox string
	model   string
	body    *body   // nil: streamed through unread
	added   *splice // to the body, by which the answer tells its usage; nil: nothing
	counted bool

	recording *recording // nil: the call is not recorded
}

// admit makes a call of what was asked, once its meter admits it. The caller drops it.
func (g *Gateway) admit(r *http.Request, t target, b *body, a asked) (*call, error) {
	c := &call{target: t, ctx: context.WithoutCancel(r.Context()), sandbox: pipe.Owner(r.Context()), body: b}
	if g.meter == nil || t.form == free {
		return c, nil
	}
	switch {
	case bool(a.background) && t.path == "responses":
		return nil, errBackground
	case bool(a.others):
		return nil, errOtherModels
	case a.streams > 1:
		return nil, errManyStreams
	}
	var err error
	if c.model, err = oneModel(append(a.models, t.models...), t.path); err != nil {
		return nil, err
	}
	if err := g.meter.Admit(r.Context(), c.sandbox, c.model); err != nil {
		if _, ok := errors.AsType[*RefusalError](err); ok || r.Context().Err() != nil {
			return nil, err
		}
		g.log.ErrorContext(r.Context(), "model call not admitted", "session", c.sandbox, "err", err)
		return nil, errMeter
	}
	c.meter = g.meter
	return c, nil
}

// oneModel is the model that a call would be charged for. A call that names none, or is
// not read, goes by its path.
func oneModel(names []string, path string) (string, error) {
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], "models/") // as Gemini's bodies have it
	}
	slices.Sort(names)
	switch names = slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == "" }); len(names) {
	case 0:
		return path, nil
	case 1:
		if !strings.Contains(names[0], ",") { // some gateways take a list for several calls
			return clip(names[0]), nil
		}
	}
	return "", errManyModels
}

// count reports what the call used, the first time.
func (c *call) count(u Usage) {
	if c.meter != nil && !c.counted {
		c.counted = true
		c.meter.Count(c.ctx, c.sandbox, c.model, u)
	}
}

// drop reports a call that came to nothing, unless it has been counted.
func (c *call) drop() { c.count(Usage{}) }

// abandoned is the usage of a call whose client left before there was an answer. The
// model has likely been run.
func (c *call) abandoned() Usage {
	return Usage{Calls: 1, InputTokens: c.inputEstimate(), Estimated: true}
}

// inputEstimate is about how many tokens the request has.
func (c *call) inputEstimate() int64 {
	if c.body == nil {
		return 0
	}
	return estimateInput(c.body.data)
}

// watch makes the answer's body one that is counted as it passes.
func (c *call) watch(res *http.Response) {
	if c.meter == nil || res.StatusCode >= http.StatusBadRequest {
		return
	}
	s := newScan(c.form, res.Header)
	told := toldCost(res.Header)
	res.Body = &watched{ReadCloser: res.Body, scan: s, done: func() {
		if c.counted {
			return
		}
		u := s.usage(c.inputEstimate)
		if u.Calls > 0 && told > 0 {
			u.Cost = told
		}
		c.count(u)
	}}
	if c.added != nil && s.format == formatEvents {
		res.Body = &withoutUsage{ReadCloser: res.Body}
		res.ContentLength = -1
		res.Header.Del("Content-Length")
	}
}
