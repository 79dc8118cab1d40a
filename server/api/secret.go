package api

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"lap/db"
)

// minSecret is how long a value must be at least to be looked for: the places of a
// shorter one would tell it.
const minSecret = 6

// scrubber returns what replaces the secrets of an agent in a text.
func (a *API) scrubber(ctx context.Context, agentID string) (*strings.Replacer, error) {
	agent, err := a.cfg.Store.Agent(ctx, agentID)
	if err != nil && !errors.Is(err, db.ErrNotFound) { // an agent that is gone has no secrets left
		return nil, err
	}
	var secrets []string
	for name, value := range agent.Env {
		if len(value) < minSecret || slices.Contains(agent.EnvPlain, name) {
			continue
		}
		secrets = append(secrets, value)
		quoted := strconv.Quote(value) // as it looks in a log line
		if inner := quoted[1 : len(quoted)-1]; inner != value {
			secrets = append(secrets, inner)
		}
	}
	// The first that fits is replaced: a secret that begins with another comes before it.
	slices.SortFunc(secrets, func(x, y string) int { return cmp.Compare(len(y), len(x)) })
	pairs := make([]string, 0, 2*len(secrets))
	for _, s := range secrets {
		pairs = append(pairs, s, "***")
	}
	return strings.NewReplacer(pairs...), nil
}
