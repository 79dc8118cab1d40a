package gateway

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"

	"lap/server/gateway/cassette"
	"lap/server/gateway/scripted"
)

// Prefixes of the names of models whose calls are recorded, and replayed.
const (
	recordPrefix = "record/"
	replayPrefix = "replay/"
)

// tape is what a model's name says of a cassette.
type tape struct {
	asked    string // the whole name
	replay   bool
	cassette string
	model    string // what stands after the cassette's name; "": nothing
}

// isTape reports whether a name is that of a tape.
func isTape(name string) bool {
	return strings.HasPrefix(name, recordPrefix) || strings.HasPrefix(name, replayPrefix)
}

// realModel has nothing that JSON or a path would escape.
var realModel = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,199}$`)

// tapeOf reads the one name of a call that names a tape. Of a body of Gemini's form it
// may have models/ before it.
func tapeOf(names []string) (tape, error) {
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], "models/")
	}
	if names = slices.Compact(names); len(names) > 1 {
		return tape{}, errManyModels
	}
	t := tape{asked: names[0], replay: strings.HasPrefix(names[0], replayPrefix)}
	t.cassette, t.model, _ = strings.Cut(t.asked[len(recordPrefix):], "/") // both prefixes have one length
	switch err := cassette.CheckName(t.cassette); {
	case err != nil:
		return tape{}, err
	case t.model != "" && !realModel.MatchString(t.model):
		return tape{}, badTape("%q is no name of a model", clip(t.model))
	}
	return t, nil
}

// onTape answers a call for a model whose calls are recorded or replayed.
func (g *Gateway) onTape(w http.ResponseWriter, r *http.Request, t target, b *body, a asked) error {
	tp, err := tapeOf(slices.Concat(a.models, t.models))
	switch {
	case err != nil:
		return err
	case r.Method == http.MethodGet:
		return reply(w, scriptedModel(tp.asked))
	case strings.Contains(t.query, tp.asked):
		return badTape("the model %s stands in the query: name it in the body", clip(tp.asked))
	}
	if a.others {
		return errOtherModels // of which some would be asked without being recorded
	}
	if tp.replay {
		return g.replay(w, r, t, tp, b, a)
	}
	return g.record(w, r, t, tp, b, a)
}

// canonical is the request in the form in which it is recorded and looked for. hide takes
// further secrets out of it; it may be nil.
func (g *Gateway) canonical(r *http.Request, t target, tp tape, b *body, hide *strings.Replacer) (cassette.Request, error) {
	data := b.data
	if cost := tapeCost * min(len(data), cassette.MaxRequest); cost > 0 {
		if !g.memory.take(b.owner, cost) {
			return cassette.Request{}, errBusy
		}
		defer g.memory.take(b.owner, -cost)
	}
	if hide != nil && len(data) <= cassette.MaxRequest {
		data = []byte(hide.Replace(string(data)))
	}
	line := r.Method + " " + t.path
	if t.query != "" {
		line += "?" + t.query
	}
	return cassette.Canonical(line, data, tp.asked)
}

// rename puts the real model where the tape's name stands.
func (tp *tape) rename(t *target, b *body, a *asked) error {
	if len(t.models) > 0 {
		t.path, t.models = strings.Replace(t.path, tp.asked, tp.model, 1), nil
	}
	if len(a.models) > 0 {
		data, ok := renamed(b.data, tp.model)
		if !ok {
			return badTape("the request does not have one member called model: name the model once")
		}
		b.data = data
	}
	a.models = names{tp.model}
	return nil
}

// renamed is the request with another model, in place. It fails where there is not exactly
// one member that anybody could take for the model.
func renamed(request []byte, to string) ([]byte, bool) {
	text := unsafe.String(unsafe.SliceData(request), len(request)) // not used once the request changes
	var change *splice
	found := 0
	gjson.Parse(text).ForEach(func(key, v gjson.Result) bool {
		if strings.EqualFold(key.Str, "model") {
			found++
			change = replace(request, v, `"`+to+`"`)
		}
		return true
	})
	if found != 1 || change == nil {
		return nil, false
	}
	return slices.Replace(request, change.from, change.to, []byte(change.with)...), true
}

// isOwn reports whether lap itself answers for a model.
func isOwn(name string) bool { return isTape(name) || strings.HasPrefix(name, scripted.Prefix) }

func badTape(format string, args ...any) error {
	return &apiError{
		Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "invalid_model",
		Message: fmt.Sprintf(format, args...),
	}
}
