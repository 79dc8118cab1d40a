package prompt_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/db"
	"lap/server/prompt"
)

func TestSlug(t *testing.T) {
	tests := []struct{ name, want string }{
		{"PR reviewer", "pr-reviewer"},
		{"Café Über", "cafe-uber"},
		{"  --x--  ", "x"},
		{`A/B\C..`, "a-b-c"},
		{"日本語", "the-id"},
		{"", "the-id"},
		{"../../etc", "etc"},
		{strings.Repeat("a", 80), strings.Repeat("a", 60)},
		{strings.Repeat("a", 59) + "- b", strings.Repeat("a", 59)},
		{"İstanbul ﬁx", "istanbul-fix"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := prompt.Slug(tt.name, "the-id"); got != tt.want {
				t.Errorf("slug = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSkillFiles(t *testing.T) {
	described, blank := ` Says "hi" <b> `, "  "
	got := prompt.SkillFiles([]db.Skill{
		{ID: "1", Name: "PR reviewer", Content: "# One\n"},
		{ID: "2", Name: "PR reviewer", Description: &described, Content: "# Two"},
		{ID: "3", Name: "pr: reviewer", Description: &blank, Content: "---\nname: mine\n---\nbody"},
		{ID: "4", Name: "own", Content: "\n ---\r\nname: mine"},
		{ID: "5", Name: "rule", Content: "----\nno front matter"},
	})
	want := []prompt.File{
		{Slug: "pr-reviewer", Path: ".claude/skills/pr-reviewer/SKILL.md", Content: "---\nname: pr-reviewer\nskill_id: 1\ndescription: \"PR reviewer skill\"\n---\n\n# One\n"},
		{Slug: "pr-reviewer-2", Path: ".claude/skills/pr-reviewer-2/SKILL.md", Content: "---\nname: pr-reviewer-2\nskill_id: 2\ndescription: \"Says \\\"hi\\\" <b>\"\n---\n\n# Two"},
		{Slug: "pr-reviewer-3", Path: ".claude/skills/pr-reviewer-3/SKILL.md", Content: "---\nname: mine\n---\nbody"},
		{Slug: "own", Path: ".claude/skills/own/SKILL.md", Content: "\n ---\r\nname: mine"},
		{Slug: "rule", Path: ".claude/skills/rule/SKILL.md", Content: "---\nname: rule\nskill_id: 5\ndescription: \"rule skill\"\n---\n\n----\nno front matter"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if none := prompt.SkillFiles(nil); none == nil {
		t.Error("no skills: nil, want an empty list, which is [] as JSON")
	}
}

func TestSkillFilesNumberedNameIsTaken(t *testing.T) {
	var got []string
	for _, f := range prompt.SkillFiles([]db.Skill{{ID: "1", Name: "a 2"}, {ID: "2", Name: "a"}, {ID: "3", Name: "a"}}) {
		got = append(got, f.Slug)
	}
	if diff := cmp.Diff([]string{"a-2", "a", "a-3"}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzSlug(f *testing.F) {
	safe := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	for _, seed := range []string{"PR reviewer", "Café", "日本語", "a\x00/..", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if slug := prompt.Slug(name, "id"); !safe.MatchString(slug) || len(slug) > 60 {
			t.Errorf("slug of %q = %q, not a safe folder name", name, slug)
		}
	})
}
