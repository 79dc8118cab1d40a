package api

import (
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/julienschmidt/httprouter"

	"lap/db"
)

// maxTags is how many tags a memory has at most.
const maxTags = 8

// The values of a memory's source.
const (
	sourceAgent = "agent"
	sourceSlack = "slack"
	sourceUI    = "ui"
)

// A memoryReply is a memory on the wire.
type memoryReply struct {
	ID              string   `json:"id"`
	AgentID         string   `json:"agent_id"`
	Text            string   `json:"text"`
	Tags            []string `json:"tags"`
	Type            string   `json:"type"`
	Priority        int64    `json:"priority"`
	Pinned          bool     `json:"pinned"`
	Disabled        bool     `json:"disabled"`
	TimesApplied    int64    `json:"times_applied"`
	LastAppliedAt   *stamp   `json:"last_applied_at"`
	Source          string   `json:"source"`
	SourceUserID    *string  `json:"source_user_id"`
	SourceSessionID *string  `json:"source_session_id"`
	SourceThreadTS  *string  `json:"source_thread_ts"`
	CreatedAt       stamp    `json:"created_at"`
	UpdatedAt       stamp    `json:"updated_at"`
}

func newMemoryReply(m db.Memory) memoryReply {
	return memoryReply{
		ID: m.ID, AgentID: m.AgentID, Text: m.Text, Tags: filled(m.Tags), Type: m.Type,
		Priority: m.Priority, Pinned: m.Pinned, Disabled: m.Disabled,
		TimesApplied: m.TimesApplied, LastAppliedAt: nullStamp(m.LastAppliedAt),
		Source: m.Source, SourceUserID: m.SourceUserID, SourceSessionID: m.SourceSessionID, SourceThreadTS: m.SourceThreadTS,
		CreatedAt: stamp(m.CreatedAt), UpdatedAt: stamp(m.UpdatedAt),
	}
}

func noMemory(err error, id string) error { return missing(err, "memory '%s' not found", id) }

// listMemories answers GET /agents/{agent_id}/memory.
func (a *API) listMemories(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	agent, err := a.agent(r, p)
	if err != nil {
		return err
	}
	return a.memories(w, r, agent.ID)
}

// memories answers with an agent's memories. A search counts as a use of what it finds.
func (a *API) memories(w http.ResponseWriter, r *http.Request, agentID string) error {
	q := r.URL.Query()
	pg := parsePage(q)
	query := db.MemoryQuery{
		AgentID: agentID, Text: q.Get("q"),
		Tags:            slices.DeleteFunc(q["tag"], func(tag string) bool { return strings.TrimSpace(tag) == "" }),
		IncludeDisabled: q.Get("include_disabled") == "true", Limit: pg.limit, Offset: pg.offset,
	}
	read := a.cfg.Store.Memories
	if strings.TrimSpace(query.Text) != "" {
		read = a.cfg.Store.SearchMemories
	}
	rows, total, err := read(r.Context(), query)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, list(pg, rows, total, newMemoryReply))
}

// createMemory answers POST /agents/{agent_id}/memory.
func (a *API) createMemory(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	agent, err := a.agent(r, p)
	if err != nil {
		return err
	}
	return a.addMemory(w, r, db.Memory{AgentID: agent.ID, Source: sourceUI})
}

// addMemory stores what a request says, on top of what m is without it.
func (a *API) addMemory(w http.ResponseWriter, r *http.Request, m db.Memory) error {
	in, err := decode(w, r, smallBody)
	if err != nil {
		return err
	}
	m.Text, m.Type = in.Required("text"), "convention"
	editMemory(in, &m)
	change(&m.Source, source(in))
	changeText(&m.SourceSessionID, in.Text("source_session_id"))
	m.SourceUserID, m.SourceThreadTS = in.Text("source_user_id"), in.Text("source_thread_ts")
	if err := in.err(); err != nil {
		return err
	}
	if who := callerOf(r); who != nil { // an agent cannot pretend to be somebody else
		m.Source = sourceAgent
		changeText(&m.SourceSessionID, who.sessionID())
	}
	agentID := m.AgentID
	if m, err = a.cfg.Store.CreateMemory(r.Context(), m); err != nil {
		return noAgent(err, agentID)
	}
	a.cfg.Engine.Changed(agentID)
	return reply(w, http.StatusCreated, newMemoryReply(m))
}

func source(in *object) *string {
	s := in.Text("source")
	if s != nil && *s != sourceAgent && *s != sourceSlack && *s != sourceUI {
		in.fail("source", "must be agent, slack or ui")
	}
	return s
}

// patchMemory answers PATCH /agents/{agent_id}/memory/{memory_id}.
func (a *API) patchMemory(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	agent, err := a.agent(r, p)
	if err != nil {
		return err
	}
	id := p.ByName("memory_id")
	if _, err := a.cfg.Store.Memory(r.Context(), agent.ID, id); err != nil {
		return noMemory(err, id)
	}
	in, err := decode(w, r, smallBody)
	if err != nil {
		return err
	}
	var before db.Memory
	m, err := a.cfg.Store.UpdateMemory(r.Context(), agent.ID, id, func(m *db.Memory) error {
		before = *m
		change(&m.Text, in.NonEmpty("text"))
		change(&m.Disabled, in.Bool("disabled"))
		editMemory(in, m)
		return in.err()
	})
	if err != nil {
		return noMemory(err, id)
	}
	if before.UpdatedAt = m.UpdatedAt; !reflect.DeepEqual(before, m) {
		a.cfg.Engine.Changed(agent.ID)
	}
	return reply(w, http.StatusOK, newMemoryReply(m))
}

// editMemory applies what create and PATCH have in common.
func editMemory(in *object, m *db.Memory) {
	if tags := in.Texts("tags"); tags != nil {
		m.Tags = tags
		if len(tags) > maxTags {
			in.fail("tags", "at most %d, has %d", maxTags, len(tags))
		}
	}
	change(&m.Type, in.Text("type"))
	change(&m.Priority, in.Int("priority", -maxExact, maxExact))
	change(&m.Pinned, in.Bool("pinned"))
}

// deleteMemory answers DELETE /agents/{agent_id}/memory/{memory_id}.
func (a *API) deleteMemory(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	agent, err := a.agent(r, p)
	if err != nil {
		return err
	}
	id := p.ByName("memory_id")
	if err := a.cfg.Store.DeleteMemory(r.Context(), agent.ID, id); err != nil {
		return noMemory(err, id)
	}
	a.cfg.Engine.Changed(agent.ID)
	return noContent(w)
}
