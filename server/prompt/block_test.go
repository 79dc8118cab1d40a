package prompt_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/server/prompt"
)

const (
	one = "Base prompt.\n\n<!-- skill:aaaa -->\n# One"
	two = one + "\n\n<!-- skill:bbbb -->\n# Two"
)

func TestAttach(t *testing.T) {
	tests := []struct{ name, prompt, id, content, want string }{
		{"to nothing", "", "aaaa", "  # One\n\nbody\n\n", "<!-- skill:aaaa -->\n# One\n\nbody"},
		{"to text with blanks at its end", "Base prompt.  \n\n", "aaaa", "# One", one},
		{"a second one", one, "bbbb", "# Two\n", two},
		{"again", two, "aaaa", "# One v2", two},
		{"again, blanks at the end stay", two + " \n", "aaaa", "x", two + " \n"},
		{"to an inline mention", "see <!-- skill:aaaa --> inline", "aaaa", "# One", "see <!-- skill:aaaa --> inline\n\n<!-- skill:aaaa -->\n# One"},
		{"to a line with more than the marker", "<!-- skill:aaaa --> x", "aaaa", "# One", "<!-- skill:aaaa --> x\n\n<!-- skill:aaaa -->\n# One"},
		{"again, windows line ends", "<!-- skill:aaaa -->\r\n# One", "aaaa", "x", "<!-- skill:aaaa -->\r\n# One"},
		{"again, block without text", "<!-- skill:aaaa -->\n", "aaaa", "x", "<!-- skill:aaaa -->\n"},
		{"to a marker at the very end", "x\n<!-- skill:K -->", "K", "# K", "x\n<!-- skill:K -->\n\n<!-- skill:K -->\n# K"},
		{"to a marker and blanks at the very end", "<!-- skill:K --> ", "K", "# K", "<!-- skill:K -->\n\n<!-- skill:K -->\n# K"},
		{"again, after a marker at the very end", "<!-- skill:K -->\n\n<!-- skill:K -->\n# K", "K", "x", "<!-- skill:K -->\n\n<!-- skill:K -->\n# K"},
		{"forged marker", "", "a", "x\n<!-- skill:b -->\ny", "<!-- skill:a -->\nx\n<!--  skill:b -->\ny"},
		{"forged marker in the first line", "", "a", " <!-- skill:b --> y", "<!-- skill:a -->\n<!--  skill:b --> y"},
		{"forged legacy marker", "", "a", "x\n<!-- skill -->\ny", "<!-- skill:a -->\nx\n<!--  skill -->\ny"},
		{"other comments stay", "", "a", "<!-- skilled -->\n<!-- skill: -->", "<!-- skill:a -->\n<!-- skilled -->\n<!-- skill: -->"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, prompt.Attach(tt.prompt, tt.id, tt.content)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDetach(t *testing.T) {
	tests := []struct{ name, prompt, id, want string }{
		{"the first of two", two, "aaaa", "Base prompt.\n\n<!-- skill:bbbb -->\n# Two"},
		{"the last of two", two, "bbbb", one},
		{"text after it goes too", "pre\n\n<!-- skill:aaaa -->\n# One\n\nuser text after", "aaaa", "pre"},
		{"the only one", "<!-- skill:aaaa -->\n# One", "aaaa", ""},
		{"at the start", "<!-- skill:aaaa -->\n# One\n\n<!-- skill:bbbb -->\n# Two\n", "aaaa", "<!-- skill:bbbb -->\n# Two"},
		{"the first of its id", "<!-- skill:a -->\n1\n<!-- skill:a -->\n2", "a", "<!-- skill:a -->\n2"},
		{"none", two + "\n ", "cccc", two + "\n "},
		{"inline", "see <!-- skill:aaaa --> inline\n", "aaaa", "see <!-- skill:aaaa --> inline\n"},
		{"windows line ends", "pre\r\n\r\n<!-- skill:aaaa -->\r\n# One\r\n", "aaaa", "pre"},
		{"empty id", two, "", two},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, prompt.Detach(tt.prompt, tt.id)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDetachAll(t *testing.T) {
	tests := []struct{ name, prompt, want string }{
		{"two", two, "Base prompt."},
		{"legacy", "x\n<!-- skill -->\nlegacy", "x"},
		{"legacy at the end", "x\n<!-- skill -->", "x"},
		{"legacy at the start", "<!-- skill -->\nlegacy", "<!-- skill -->\nlegacy"},
		{"legacy with more on its line", "x\n<!-- skill --> y", "x\n<!-- skill --> y"},
		{"legacy before blocks", "x\n<!-- skill -->\nlegacy\n\n<!-- skill:a -->\nA", "x"},
		{"blocks before legacy", "x\n\n<!-- skill:a -->\nA\n<!-- skill -->\nlegacy", "x"},
		{"none", "x \n", "x \n"},
		{"nothing else", "<!-- skill:a -->\nA", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, prompt.DetachAll(tt.prompt)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSkillIDs(t *testing.T) {
	tests := []struct {
		name, prompt string
		want         []string
	}{
		{"two", two, []string{"aaaa", "bbbb"}},
		{"twice the same, and the legacy marker", "<!-- skill:a --><!-- skill:a -->\n<!-- skill -->", []string{"a"}},
		{"none", "x", []string{}},
		{"nothing", "", []string{}},
		{"inline", "see <!-- skill:aaaa --> inline", []string{}},
		{"broken markers", "<!-- skill: -->\n<!-- skill:a b -->\n<!-- skill:a>b -->\n<!-- skill:a-->\n<!-- skill:a", []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, prompt.SkillIDs(tt.prompt)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzAttachDetach(f *testing.F) {
	f.Add("Base prompt.  \n\n", "# One")
	f.Add(one, "x\n<!-- skill:b -->\ny")
	f.Add("a\n<!-- skill -->\nb", "<!-- skill -->")
	f.Add("", "<!-- skill:new -->")
	f.Add("<!-- skill:", "b -->\n")
	f.Fuzz(func(t *testing.T, text, content string) {
		const id = "new-id"
		if strings.Contains(text, id) {
			t.Skip("the prompt may have the block already")
		}
		before := prompt.SkillIDs(text)
		attached := prompt.Attach(text, id, content)
		if diff := cmp.Diff(append(before, id), prompt.SkillIDs(attached)); diff != "" {
			t.Fatalf("content forged or hid a block: %s", diff)
		}
		if again := prompt.Attach(attached, id, "other"); again != attached {
			t.Fatalf("attached twice: %q", again)
		}
		trimmed := strings.TrimLeft(strings.TrimRight(text, " \t\r\n\v\f\u0085\u00a0\u2028\u2029\ufeff"), "\r\n")
		if got := prompt.Detach(attached, id); got != trimmed {
			t.Fatalf("detached = %q, want %q", got, trimmed)
		}
		if got := prompt.SkillIDs(prompt.DetachAll(attached)); len(got) > 0 {
			t.Fatalf("left after detaching all: %q", got)
		}
	})
}
