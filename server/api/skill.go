package api

import (
	"net/http"
	"slices"

	"github.com/julienschmidt/httprouter"

	"lap/db"
	"lap/server/prompt"
)

// A skillReply is a skill on the wire.
type skillReply struct {
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	Description *string `json:"description"`
	Content     string  `json:"content"`
	CreatedAt   stamp   `json:"created_at"`
}

func newSkillReply(s db.Skill) skillReply {
	return skillReply{ID: s.ID, Name: s.Name, Description: s.Description, Content: s.Content, CreatedAt: stamp(s.CreatedAt)}
}

func noSkill(err error, id string) error { return missing(err, "skill '%s' not found", id) }

// createSkill answers POST /skills.
func (a *API) createSkill(w http.ResponseWriter, r *http.Request, _ httprouter.Params) error {
	in, err := decode(w, r, largeBody)
	if err != nil {
		return err
	}
	name, content, description := in.Required("name"), in.Required("content"), in.Text("description")
	if err := in.err(); err != nil {
		return err
	}
	s, err := a.cfg.Store.CreateSkill(r.Context(), name, description, content)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, newSkillReply(s))
}

// listSkills answers GET /skills.
func (a *API) listSkills(w http.ResponseWriter, r *http.Request, _ httprouter.Params) error {
	p := parsePage(r.URL.Query())
	rows, total, err := a.cfg.Store.Skills(r.Context(), p.limit, p.offset)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, list(p, rows, total, newSkillReply))
}

// readSkill answers GET /skills/{skill_id}.
func (a *API) readSkill(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	id := p.ByName("skill_id")
	s, err := a.cfg.Store.Skill(r.Context(), id)
	if err != nil {
		return noSkill(err, id)
	}
	return reply(w, http.StatusOK, newSkillReply(s))
}

// patchSkill answers PATCH /skills/{skill_id}. Prompts that hold the skill's block stay
// as they are.
func (a *API) patchSkill(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	id, who := p.ByName("skill_id"), callerOf(r)
	if _, err := a.cfg.Store.Skill(r.Context(), id); err != nil {
		return noSkill(err, id)
	}
	if who != nil {
		if err := a.mayImprove(r, who, id); err != nil {
			return noSkill(err, id)
		}
	}
	in, err := decode(w, r, largeBody)
	if err != nil {
		return err
	}
	c := db.SkillChange{Name: in.NonEmpty("name"), Content: in.NonEmpty("content"), ChangedBySession: changedBy(r, who)}
	if d := in.Nullable("description"); d.given {
		c.Description = &d.value
	}
	if err := in.err(); err != nil {
		return err
	}
	s, err := a.cfg.Store.UpdateSkill(r.Context(), id, c)
	if err != nil {
		return noSkill(err, id)
	}
	return reply(w, http.StatusOK, newSkillReply(s))
}

// mayImprove returns db.ErrNotFound unless the skill is attached to the caller's agent,
// or was given to one of its live sessions.
func (a *API) mayImprove(r *http.Request, who *caller, id string) error {
	agent, err := a.cfg.Store.Agent(r.Context(), who.agent)
	if err != nil || slices.Contains(prompt.SkillIDs(text(agent.Prompt)), id) {
		return err
	}
	given, err := a.cfg.Store.SkillGiven(r.Context(), who.agent, id)
	if err == nil && !given {
		err = db.ErrNotFound
	}
	return err
}

// changedBy is the session that changes a skill, nil for a person. A caller whose
// session is known cannot name another.
func changedBy(r *http.Request, who *caller) *string {
	if who == nil {
		return nil
	}
	if id := who.sessionID(); id != nil {
		return id
	}
	id := r.Header.Get("X-Session-Id")
	return orNone(&id)
}

// deleteSkill answers DELETE /skills/{skill_id}. Prompts keep their blocks.
func (a *API) deleteSkill(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	id := p.ByName("skill_id")
	if err := a.cfg.Store.DeleteSkill(r.Context(), id); err != nil {
		return noSkill(err, id)
	}
	return noContent(w)
}
