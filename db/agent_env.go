package db

import (
	"maps"
	"slices"
	"strings"
)

// RequirementsName stands in EnvBroken for requirements that cannot be decrypted. It
// is never the name of an env var.
const RequirementsName = "AGENT_REQUIREMENTS"

// SetEnv replaces all env vars, also those that cannot be decrypted. EnvPlain loses the
// names that are gone.
func (a *Agent) SetEnv(env map[string]string) {
	a.Env = env
	a.EnvPlain = slices.DeleteFunc(a.EnvPlain, func(name string) bool { _, ok := env[name]; return !ok })
	a.EnvBroken = slices.DeleteFunc(a.EnvBroken, func(name string) bool { return name != RequirementsName })
}

// SetRequirements replaces the pip requirements; nil means none.
func (a *Agent) SetRequirements(text *string) {
	a.Requirements = text
	a.EnvBroken = slices.DeleteFunc(a.EnvBroken, func(name string) bool { return name == RequirementsName })
}

// EnvNames returns the names of all env vars, sorted, also of those that cannot be
// decrypted.
func (a *Agent) EnvNames() []string {
	names := slices.Collect(maps.Keys(a.Env))
	for _, name := range a.EnvBroken {
		if name != RequirementsName {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// unseal opens the stored secrets of a.
func (s *Store) unseal(a *Agent) {
	if len(a.sealedEnv) > 0 {
		a.Env = make(map[string]string, len(a.sealedEnv))
	}
	for name, sealed := range a.sealedEnv {
		value, err := s.sealer.Open(sealed)
		if err != nil {
			a.EnvBroken = append(a.EnvBroken, name)
			continue
		}
		a.Env[name] = value
	}
	if a.sealedRequirements != nil {
		text, err := s.sealer.Open(*a.sealedRequirements)
		if err != nil {
			a.EnvBroken = append(a.EnvBroken, RequirementsName)
		} else {
			a.Requirements = &text
		}
	}
	slices.Sort(a.EnvBroken)
}

// seal brings the stored secrets of a in line with the opened ones.
func (s *Store) seal(a *Agent) {
	sealed := make(map[string]string, len(a.Env)+len(a.EnvBroken))
	for _, name := range a.EnvBroken {
		if name != RequirementsName {
			sealed[name] = a.sealedEnv[name]
		}
	}
	for name, value := range a.Env {
		sealed[name] = s.reseal(a.sealedEnv[name], value)
	}
	a.sealedEnv = sealed
	switch {
	case slices.Contains(a.EnvBroken, RequirementsName): // stays as it is
	case a.Requirements == nil:
		a.sealedRequirements = nil
	default:
		var old string
		if a.sealedRequirements != nil {
			old = *a.sealedRequirements
		}
		text := s.reseal(old, *a.Requirements)
		a.sealedRequirements = &text
	}
}

// reseal returns old when it is value sealed already, else value sealed afresh.
func (s *Store) reseal(old, value string) string {
	if opened, err := s.sealer.Open(old); err == nil && opened == value && strings.HasPrefix(old, sealPrefix) {
		return old
	}
	return s.sealer.Seal(value)
}
