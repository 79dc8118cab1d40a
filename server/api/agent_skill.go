package api

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/julienschmidt/httprouter"

	"lap/db"
	"lap/server/prompt"
)

var errNoSkills = &requestError{http.StatusNotFound, "one or more skill_ids not found"}

// attachReply says what was attached to whom.
type attachReply struct {
	Agent agentReply  `json:"agent"`
	Skill *skillReply `json:"skill,omitempty"` // not for a block without a skill
}

// attachSkill answers POST /agents/{agent_id}/skill.
func (a *API) attachSkill(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	agent, err := a.agent(r, p)
	if err != nil {
		return err
	}
	in, err := decode(w, r, largeBody)
	if err != nil {
		return err
	}
	skill, stored, err := a.skillToAttach(r, in)
	if err != nil {
		return err
	}
	agent, err = a.cfg.Store.UpdateAgent(r.Context(), agent.ID, func(agent *db.Agent) error {
		attach(agent, skill.ID, skill.Content)
		return nil
	})
	if err != nil {
		return noAgent(err, p.ByName("agent_id"))
	}
	a.cfg.Engine.Changed(agent.ID)
	out := attachReply{}
	if out.Agent, err = a.agentNow(r.Context(), agent); err != nil {
		return err
	}
	if stored {
		out.Skill = new(newSkillReply(skill))
	}
	return reply(w, http.StatusOK, out)
}

// skillToAttach finds or makes the skill of an attach request. What is not stored gets
// an id of its own for its marker.
func (a *API) skillToAttach(r *http.Request, in *object) (skill db.Skill, stored bool, err error) {
	if in.has("skill_id") {
		id := in.Required("skill_id")
		if err := in.err(); err != nil {
			return db.Skill{}, false, err
		}
		skill, err = a.cfg.Store.Skill(r.Context(), id)
		return skill, true, noSkill(err, id)
	}
	if !in.has("content") {
		in.missing("skill_id or content")
	}
	content, name, description := in.NonEmpty("content"), in.Text("name"), in.Text("description")
	save := in.Bool("save_to_library")
	if err := in.err(); err != nil {
		return db.Skill{}, false, err
	}
	if save != nil && !*save {
		return db.Skill{ID: a.cfg.NewID(), Content: *content}, false, nil
	}
	title := strings.TrimSpace(text(name))
	if title == "" {
		title = "Skill " + a.cfg.Now().UTC().Format("2006-01-02 15:04:05")
	}
	if description != nil {
		trimmed := strings.TrimSpace(*description)
		description = orNone(&trimmed)
	}
	skill, err = a.cfg.Store.CreateSkill(r.Context(), title, description, *content)
	return skill, true, err
}

// detachSkill answers DELETE /agents/{agent_id}/skill: with the query skill_id it
// removes that skill's block, else all.
func (a *API) detachSkill(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	agent, err := a.agent(r, p)
	if err != nil {
		return err
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // a broken id must not remove all
		return invalid("invalid query: %s", clip(err.Error()))
	}
	agent, err = a.cfg.Store.UpdateAgent(r.Context(), agent.ID, func(agent *db.Agent) error {
		if agent.Prompt == nil {
			return nil
		}
		left := prompt.DetachAll(*agent.Prompt)
		if q.Has("skill_id") { // also when empty: a forgotten id must not remove all
			left = prompt.Detach(*agent.Prompt, q.Get("skill_id"))
		}
		agent.Prompt = orNone(&left)
		return nil
	})
	if err != nil {
		return noAgent(err, p.ByName("agent_id"))
	}
	a.cfg.Engine.Changed(agent.ID)
	out := attachReply{}
	if out.Agent, err = a.agentNow(r.Context(), agent); err != nil {
		return err
	}
	return reply(w, http.StatusOK, out)
}
