package gateway

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"lap/server/gateway/scripted"
)

// model is a model as the OpenAI API describes one.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func scriptedModel(name string) model {
	return model{ID: name, Object: "model", Created: scripted.Created, OwnedBy: "lap"}
}

// list answers which models there are without a model gateway.
func (g *Gateway) list(w http.ResponseWriter) error {
	out := struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{Object: "list"}
	for _, name := range g.models.Names() {
		out.Data = append(out.Data, scriptedModel(name))
	}
	for _, name := range g.cassettes.Names() {
		out.Data = append(out.Data, scriptedModel(replayPrefix+name))
	}
	return reply(w, out)
}

// describe answers what a scripted model is.
func (g *Gateway) describe(w http.ResponseWriter, name string) error {
	known := g.models.Names()
	if !slices.Contains(known, name) {
		return &apiError{
			Status: http.StatusNotFound, Type: "invalid_request_error", Code: "model_not_found",
			Message: "there is no model " + clip(name) + "; the scripted models are " + strings.Join(known, ", "),
		}
	}
	return reply(w, scriptedModel(name))
}

func reply(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that left needs no answer
	return nil
}
