package prompt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"lap/db"
)

// slugLength is how many characters of a skill's name its folder keeps.
const slugLength = 60

// A File is a SKILL.md in an agent's home directory. As JSON it is what harness images
// expect in SKILLS_JSON.
type File struct {
	Slug    string `json:"slug"`
	Path    string `json:"-"` // relative to the home directory
	Content string `json:"content"`
}

// SkillFiles returns the files of skills, each in a folder of its own.
func SkillFiles(skills []db.Skill) []File {
	files := make([]File, 0, len(skills))
	taken := map[string]bool{}
	for _, s := range skills {
		slug := free(Slug(s.Name, s.ID), taken)
		taken[slug] = true
		files = append(files, File{
			Slug: slug, Path: ".claude/skills/" + slug + "/SKILL.md", Content: withFrontMatter(s, slug),
		})
	}
	return files
}

// free returns slug, or its first numbered form that is not taken.
func free(slug string, taken map[string]bool) string {
	candidate := slug
	for n := 2; taken[candidate]; n++ {
		candidate = slug + "-" + strconv.Itoa(n)
	}
	return candidate
}

// Slug is the folder name of a skill: its name in lower case, without accents, with
// "-" for each run of anything but a-z and 0-9; the id when nothing is left.
func Slug(name, id string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(name)) {
		switch {
		case r >= '\u0300' && r <= '\u036f': // combining marks
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	slug := b.String()
	if len(slug) > slugLength {
		slug = slug[:slugLength]
	}
	if slug = strings.Trim(slug, "-"); slug == "" {
		return id
	}
	return slug
}

// withFrontMatter is a skill's content, preceded by front matter unless it brings its
// own.
func withFrontMatter(s db.Skill, slug string) string {
	start := strings.TrimLeft(s.Content, " \t\r\n\v\f\ufeff")
	if strings.HasPrefix(start, "---\n") || strings.HasPrefix(start, "---\r\n") {
		return s.Content
	}
	description := ""
	if s.Description != nil {
		description = strings.TrimSpace(*s.Description)
	}
	if description == "" {
		description = s.Name + " skill"
	}
	return fmt.Sprintf("---\nname: %s\nskill_id: %s\ndescription: %s\n---\n\n%s", slug, s.ID, quote(description), s.Content)
}

// quote is text as a JSON string, which YAML reads as well.
func quote(text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		panic(err) // strings always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}
