package api

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxEnvKeys  = 50
	maxEnvBytes = 16384 // of the map as compact JSON
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// reservedEnv are the names that only lap itself may set in a sandbox.
var reservedEnv = []string{
	"REPO_URL", "BRANCH", "LITELLM_API_KEY", "LITELLM_API_BASE", "LITELLM_DEFAULT_MODEL",
	"AGENT_PROMPT", "PORT", "GIT_TOKEN", "AGENT_REQUIREMENTS",
}

// envVars reads the member env_vars, nil when absent. No issue ever shows a value.
func envVars(in *object) map[string]string {
	vars := in.Object("env_vars")
	if vars == nil {
		return nil
	}
	env := make(map[string]string, len(vars.members))
	var reserved []string
	for _, name := range vars.names() {
		v := vars.members[name]
		v.path = vars.path + clip(name)
		if !envName.MatchString(name) {
			v.fail("invalid env var name, want letters, digits and _, not beginning with a digit")
			continue
		}
		if slices.Contains(reservedEnv, name) {
			reserved = append(reserved, name)
		}
		text, ok := v.text()
		if ok && strings.ContainsRune(text, 0) {
			v.fail("invalid value, it contains a NUL byte")
		}
		env[name] = text
	}
	if len(reserved) > 0 {
		in.fail("env_vars", "reserved keys are set by lap itself: %s", strings.Join(reserved, ", "))
	}
	if len(vars.members) > maxEnvKeys {
		in.fail("env_vars", "max %d keys, has %d", maxEnvKeys, len(vars.members))
	}
	if size := jsonSize(env); size > maxEnvBytes {
		in.fail("env_vars", "at most %d bytes as JSON, has %d", maxEnvBytes, size)
	}
	return env
}

// envPlain reads the member env_plain, whose elements must be in names; nil when absent.
func envPlain(in *object, names []string) []string {
	if !in.has("env_plain") {
		return nil
	}
	plain := []string{}
	for _, v := range in.Array("env_plain") {
		name, ok := v.text()
		switch {
		case !ok:
		case !slices.Contains(names, name):
			v.fail("%q is not in env_vars", clip(name))
		case !slices.Contains(plain, name):
			plain = append(plain, name)
		}
	}
	return plain
}

// keysOf returns the keys of m, sorted.
func keysOf[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// jsonSize is the length of env as compact JSON without needless escapes.
func jsonSize(env map[string]string) int {
	size := 1 + max(len(env), 1) // brackets and commas
	for name, text := range env {
		size += quotedSize(name) + 1 + quotedSize(text)
	}
	return size
}

func quotedSize(text string) int {
	size := 2
	for _, r := range text {
		switch {
		case r == '"' || r == '\\' || r == '\b' || r == '\f' || r == '\n' || r == '\r' || r == '\t':
			size += 2
		case r < ' ':
			size += len(`\u0000`)
		default:
			size += utf8.RuneLen(r)
		}
	}
	return size
}
