package db

import (
	"context"
	"time"
)

// A Skill is one row of the skill library.
type Skill struct {
	ID          string
	Name        string
	Description *string
	Content     string
	CreatedAt   time.Time
}

const skillColumns = `id, name, description, content, created_at`

func scanSkill(r scanner) (Skill, error) {
	var (
		s       Skill
		created int64
	)
	err := r.Scan(&s.ID, &s.Name, &s.Description, &s.Content, &created)
	s.CreatedAt = moment(created)
	return s, err
}

// CreateSkill stores a new skill and returns it with its id.
func (s *Store) CreateSkill(ctx context.Context, name string, description *string, content string) (Skill, error) {
	row := Skill{ID: s.newID(), Name: name, Description: description, Content: content, CreatedAt: moment(s.nowMillis())}
	err := s.tx(ctx, func(t tx) error { return insertSkill(ctx, t, row) })
	return row, err
}

func insertSkill(ctx context.Context, t tx, s Skill) error {
	_, err := t.exec(ctx, `INSERT INTO skills (`+skillColumns+`) VALUES (?, ?, ?, ?, ?)`,
		s.ID, s.Name, s.Description, s.Content, millis(s.CreatedAt))
	return err
}

// Skill returns one skill, or ErrNotFound.
func (s *Store) Skill(ctx context.Context, id string) (Skill, error) {
	return scanSkill(s.r.row(ctx, `SELECT `+skillColumns+` FROM skills WHERE id = ?`, id))
}

// Skills returns a page of skills, newest first, and how many there are in all.
func (s *Store) Skills(ctx context.Context, limit, offset int) ([]Skill, int, error) {
	var total int
	if err := s.r.row(ctx, `SELECT count(*) FROM skills`).Scan(&total); err != nil {
		return nil, 0, err
	}
	rows, err := s.r.query(ctx, `SELECT `+skillColumns+` FROM skills ORDER BY created_at DESC, id LIMIT ? OFFSET ?`, limit, offset)
	list, err := collect(rows, err, scanSkill)
	return list, total, err
}

// SkillsByID returns the skills with the given ids, in that order. Ids without a skill
// are left out.
func (s *Store) SkillsByID(ctx context.Context, ids []string) ([]Skill, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := s.r.query(ctx, `SELECT s.id, s.name, s.description, s.content, s.created_at
		FROM json_each(?) wanted JOIN skills s ON s.id = wanted.value ORDER BY wanted.key`, jsonList(ids))
	return collect(rows, err, scanSkill)
}

// A SkillChange says what to change of a skill; nil members stay as they are.
type SkillChange struct {
	Name             *string
	Description      **string // a pointer to nil clears it
	Content          *string
	ChangedBySession *string // who changes the content; nil: a person
}

// UpdateSkill changes a skill and returns it. Content that really changes is kept as
// a version. The error is ErrNotFound.
func (s *Store) UpdateSkill(ctx context.Context, id string, c SkillChange) (Skill, error) {
	var out Skill
	err := s.tx(ctx, func(t tx) error {
		var err error
		if out, err = scanSkill(t.row(ctx, `SELECT `+skillColumns+` FROM skills WHERE id = ?`, id)); err != nil {
			return err
		}
		if c.Content != nil && *c.Content != out.Content {
			if err := s.keepVersion(ctx, t, out, c.ChangedBySession); err != nil {
				return err
			}
		}
		out = c.apply(out)
		_, err = t.exec(ctx, `UPDATE skills SET name = ?2, description = ?3, content = ?4 WHERE id = ?1`,
			id, out.Name, out.Description, out.Content)
		return err
	})
	return out, err
}

func (c SkillChange) apply(s Skill) Skill {
	if c.Name != nil {
		s.Name = *c.Name
	}
	if c.Description != nil {
		s.Description = *c.Description
	}
	if c.Content != nil {
		s.Content = *c.Content
	}
	return s
}

func (s *Store) keepVersion(ctx context.Context, t tx, old Skill, by *string) error {
	_, err := t.exec(ctx, `INSERT INTO skill_versions (skill_id, version_number, content, changed_by_session_id, created_at)
		SELECT ?1, coalesce(max(version_number), 0) + 1, ?2, ?3, ?4 FROM skill_versions WHERE skill_id = ?1`,
		old.ID, old.Content, by, s.nowMillis())
	return err
}

// A SkillVersion is what a skill said before one of its changes.
type SkillVersion struct {
	Number           int // from 1
	Content          string
	ChangedBySession *string
	CreatedAt        time.Time
}

// SkillVersions returns the newest versions of a skill, newest first.
func (s *Store) SkillVersions(ctx context.Context, skillID string, limit int) ([]SkillVersion, error) {
	rows, err := s.r.query(ctx, `SELECT version_number, content, changed_by_session_id, created_at
		FROM skill_versions WHERE skill_id = ? ORDER BY version_number DESC LIMIT ?`, skillID, limit)
	return collect(rows, err, func(r scanner) (SkillVersion, error) {
		var (
			v       SkillVersion
			created int64
		)
		err := r.Scan(&v.Number, &v.Content, &v.ChangedBySession, &created)
		v.CreatedAt = moment(created)
		return v, err
	})
}

// DeleteSkill deletes a skill and its versions. The error is ErrNotFound.
func (s *Store) DeleteSkill(ctx context.Context, id string) error {
	return s.deleteOne(ctx, `DELETE FROM skills WHERE id = ?`, id)
}

// deleteOne runs a DELETE that must hit a row.
func (s *Store) deleteOne(ctx context.Context, query string, args ...any) error {
	return s.tx(ctx, func(t tx) error { return t.mustChange(ctx, ErrNotFound, query, args...) })
}

// SkillGiven reports whether one of the agent's live sessions has the skill as its own.
func (s *Store) SkillGiven(ctx context.Context, agentID, skillID string) (bool, error) {
	var given bool
	err := s.r.row(ctx, `SELECT EXISTS (SELECT 1 FROM sessions s, json_each(s.skill_ids) given
		WHERE s.agent_id = ? AND s.status IN ('creating', 'ready') AND given.value = ?)`, agentID, skillID).Scan(&given)
	return given, err
}
