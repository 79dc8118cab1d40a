package api

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/julienschmidt/httprouter"

	"lap/db"
	"lap/sandbox"
	"lap/server/prompt"
)

// identity is who the master key stands for. There is one tenant.
const identity = "ui"

// defaultPreload is how many ranked memories a new agent's prompt shows.
const defaultPreload = 10

// createAgent answers POST /agents.
func (a *API) createAgent(w http.ResponseWriter, r *http.Request, _ httprouter.Params) error {
	in, err := decode(w, r, largeBody)
	if err != nil {
		return err
	}
	agent := a.newAgent(in)
	ids := skillIDs(in)
	if err := in.err(); err != nil {
		return err
	}
	if err := a.attachAll(r, &agent, ids); err != nil {
		return err
	}
	if agent, err = a.cfg.Store.CreateAgent(r.Context(), agent); err != nil {
		return err
	}
	return reply(w, http.StatusCreated, a.advised(agent, a.agentReply(r.Context(), agent, db.Spent{})))
}

// newAgent reads the agent that a request describes.
func (a *API) newAgent(in *object) db.Agent {
	agent := db.Agent{
		HarnessID: harnessID(in), Branch: "main", Tools: array(in, "tools"),
		PreloadMemoryLimit: defaultPreload, CreatedBy: identity,
	}
	if agent.Model = a.cfg.DefaultModel; agent.Model == "" && !in.has("model") {
		in.missing("model")
	}
	agent.RepoURL = repoURL(in, in.Text("repo_url"))
	agent.Requirements = orNone(in.Text("requirements"))
	if id := in.Text("template_id"); id != nil {
		in.fail("template_id", "%q is no template; valid ids: none, no templates are installed", clip(*id))
	}
	editAgent(in, &agent)
	return agent
}

// attachAll appends the blocks of skills to the agent's prompt, in the order of ids.
func (a *API) attachAll(r *http.Request, agent *db.Agent, ids []string) error {
	skills, err := a.cfg.Store.SkillsByID(r.Context(), ids)
	if err != nil {
		return err
	}
	if len(skills) < len(ids) {
		return errNoSkills
	}
	for _, s := range skills {
		attach(agent, s.ID, s.Content)
	}
	return nil
}

// attach appends a skill block to the agent's prompt.
func attach(agent *db.Agent, id, content string) {
	text := prompt.Attach(text(agent.Prompt), id, content)
	agent.Prompt = &text
}

// listAgents answers GET /agents.
func (a *API) listAgents(w http.ResponseWriter, r *http.Request, _ httprouter.Params) error {
	q := r.URL.Query()
	p := parsePage(q)
	rows, total, err := a.cfg.Store.Agents(r.Context(), db.AgentQuery{
		Search: strings.TrimSpace(q.Get("search")),
		Sort:   db.AgentSort(q.Get("sort")), Desc: q.Get("order") != "asc",
		Limit: p.limit, Offset: p.offset,
	})
	if err != nil {
		return err
	}
	spent, err := a.cfg.Store.AgentsSpent(r.Context(), idsOf(rows, func(row db.AgentRow) string { return row.ID }))
	if err != nil {
		return err
	}
	ctx := r.Context()
	return reply(w, http.StatusOK, list(p, rows, total, func(row db.AgentRow) agentRow {
		return agentRow{a.agentReply(ctx, row.Agent, spent[row.ID]), row.SessionCount, row.HasActiveSession}
	}))
}

// readAgent answers GET /agents/{agent_id}.
func (a *API) readAgent(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	agent, err := a.agent(r, p)
	if err != nil {
		return err
	}
	return a.showAgent(w, r, agent)
}

// showAgent answers with an agent as it is.
func (a *API) showAgent(w http.ResponseWriter, r *http.Request, agent db.Agent) error {
	out, err := a.agentNow(r.Context(), agent)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, out)
}

// agent returns the agent that the path names.
func (a *API) agent(r *http.Request, p httprouter.Params) (db.Agent, error) {
	id := p.ByName("agent_id")
	agent, err := a.cfg.Store.Agent(r.Context(), id)
	return agent, noAgent(err, id)
}

func noAgent(err error, id string) error { return missing(err, "agent '%s' not found", id) }

// patchAgent answers PATCH /agents/{agent_id}. What a sandbox may reach, and with which
// credentials, holds for running sessions at once; else they keep what they have.
func (a *API) patchAgent(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	agent, err := a.agent(r, p)
	if err != nil {
		return err
	}
	in, err := decode(w, r, largeBody)
	if err != nil {
		return err
	}
	var before string
	agent, err = a.cfg.Store.UpdateAgent(r.Context(), agent.ID, func(agent *db.Agent) error {
		before = madeFrom(*agent)
		if repo := in.Nullable("repo_url"); repo.given {
			agent.RepoURL = repoURL(in, repo.value)
		}
		if req := in.Nullable("requirements"); req.given {
			agent.SetRequirements(orNone(req.value))
		}
		if limit := in.Int("preload_memory_limit", 0, 50); limit != nil {
			agent.PreloadMemoryLimit = int(*limit)
		}
		editAgent(in, agent)
		return in.err()
	})
	if err != nil {
		return noAgent(err, p.ByName("agent_id"))
	}
	if madeFrom(agent) != before {
		a.cfg.Engine.Changed(agent.ID)
	}
	return a.showAgent(w, r, agent)
}

// madeFrom is all of an agent that its sandboxes are made from, or that holds for those
// that run. It holds secrets.
func madeFrom(agent db.Agent) string {
	b, err := json.Marshal([]any{
		agent.Prompt, agent.Model, agent.Branch, agent.RepoURL, agent.Requirements, agent.Env, agent.EnvBroken, agent.EnvPlain, agent.MCPServers,
		agent.AllowOut, agent.DenyOut, agent.EnvVarHosts, agent.DefaultDeny, agent.HarnessImage, agent.PreloadMemoryLimit,
	})
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return string(b)
}

// deleteAgent answers DELETE /agents/{agent_id}: its sessions end before it goes.
func (a *API) deleteAgent(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	agent, err := a.agent(r, p)
	if err != nil {
		return err
	}
	if err := a.cfg.Engine.DeleteAgent(r.Context(), agent.ID); err != nil {
		return noAgent(err, agent.ID)
	}
	return noContent(w)
}

// harnessID reads the member harness_id.
func harnessID(in *object) string {
	id := in.Text("harness_id")
	if id == nil {
		return "opencode"
	}
	if _, ok := sandbox.LookupHarness(*id); !ok {
		var valid []string
		for _, h := range sandbox.Harnesses() {
			valid = append(valid, h.ID)
		}
		in.fail("harness_id", "%q is not a harness; valid ids: %s", clip(*id), strings.Join(valid, ", "))
	}
	return *id
}
