package swap_test

import (
	"regexp"
	"testing"

	"lap/sandbox/vault/swap"
)

func TestStub(t *testing.T) {
	tests := []struct{ name, want string }{
		{"GITHUB_TOKEN", `^stub_github_token_[0-9a-f]{8}$`},
		{"a--B..2", `^stub_a_b_2_[0-9a-f]{8}$`},
		{"_X_", `^stub__x__[0-9a-f]{8}$`},
		{"ÄPFEL", `^stub__pfel_[0-9a-f]{8}$`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := swap.Stub([]byte("key"), "session", tt.name)
			if !regexp.MustCompile(tt.want).MatchString(got) {
				t.Errorf("got %q, want %s", got, tt.want)
			}
			if again := swap.Stub([]byte("key"), "session", tt.name); again != got {
				t.Errorf("got %q, then %q", got, again)
			}
		})
	}
	seen := map[string]bool{}
	for _, s := range []string{
		swap.Stub([]byte("key"), "session", "A"),
		swap.Stub([]byte("key"), "other", "A"),
		swap.Stub([]byte("other"), "session", "A"),
		swap.Stub([]byte("key"), "session", "a"),
	} {
		if seen[s] {
			t.Errorf("%q is there twice", s)
		}
		seen[s] = true
	}
}
