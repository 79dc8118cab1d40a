package vault

import (
	"cmp"
	"slices"
	"strings"
)

// suggestions are where credentials of well-known services belong, by how their names begin.
var suggestions = []struct {
	prefix string
	hosts  []string
}{
	{"GITHUB_", githubHosts},
	{"GH_", githubHosts},
	{"GITLAB_", []string{"gitlab.com"}},
	{"LINEAR_", []string{"api.linear.app"}},
	{"OPENAI_", []string{"api.openai.com"}},
	{"ANTHROPIC_", []string{"api.anthropic.com"}},
	{"GEMINI_", []string{"generativelanguage.googleapis.com"}},
	{"SLACK_", []string{"slack.com", "www.slack.com"}},
	{"STRIPE_", []string{"api.stripe.com"}},
	{"HF_", []string{"huggingface.co"}},
}

var githubHosts = []string{"github.com", "api.github.com", "*.githubusercontent.com"}

// Suggested returns the hosts that a credential belongs to by its name; none are known for
// most names.
func Suggested(name string) []string {
	for _, s := range suggestions {
		if strings.HasPrefix(strings.ToUpper(name), s.prefix) {
			return s.hosts
		}
	}
	return nil
}

// LooksSecret reports whether a variable is likely to hold a credential, by its name.
func LooksSecret(name string) bool {
	upper := strings.ToUpper(name)
	for _, part := range secretParts {
		if strings.Contains(upper, part) {
			return true
		}
	}
	for word := range strings.SplitSeq(upper, "_") {
		if slices.Contains(secretWords, word) {
			return true
		}
	}
	return Unfit(name) != ""
}

// secretParts mean a credential wherever they are in a name, secretWords as words of it.
var (
	secretParts = []string{"TOKEN", "SECRET", "PASSW", "PASSPHRASE", "PWD", "APIKEY", "API_KEY", "CREDENTIAL", "PRIVATE_KEY"}
	secretWords = []string{"KEY", "KEYS", "PAT", "AUTH", "DSN", "PASS", "COOKIE"}
)

// Unfit says why a credential of this name is likely to be of no use as a stub, which is
// only swapped in HTTP; empty: nothing speaks against it.
func Unfit(name string) string {
	upper := strings.ToUpper(name)
	for _, u := range unfit {
		if upper == u.name || u.part && strings.Contains(upper, u.name) {
			return cmp.Or(u.why, "its protocol is not HTTP, so the stub is not replaced")
		}
	}
	return ""
}

var unfit = []struct {
	name string
	part bool // of a name
	why  string
}{
	{"AWS_SECRET_ACCESS_KEY", false, "it signs requests and is not sent in them"},
	{"PRIVATE_KEY", true, "a key signs and is not sent"},
	{"SSH_KEY", true, "a key signs and is not sent"},
	{"SIGNING_SECRET", true, "it signs requests and is not sent in them"},
	{"DATABASE_URL", true, ""},
	{"PGPASSWORD", false, ""},
	{"MYSQL_PWD", false, ""},
	{"REDIS_URL", false, ""},
	{"SMTP_PASSWORD", true, ""},
}

// LooksSetting reports whether a variable is likely to hold no secret but what programs must
// be able to read, by its name.
func LooksSetting(name string) bool {
	upper := strings.ToUpper(name)
	return slices.ContainsFunc(settingEnds, func(end string) bool { return strings.HasSuffix(upper, end) }) && !LooksSecret(name)
}

var settingEnds = []string{
	"_URL", "_URI", "_HOST", "_PORT", "_REGION", "_ZONE", "_PATH", "_DIR", "_HOME", "_FILE", "_NAME", "_ENV", "_MODE", "_LEVEL", "_ENABLED",
	"_TIMEOUT", "_VERSION", "_REGISTRY", "_PROXY", "_OPTIONS",
}
