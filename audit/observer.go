package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"lap/sandbox"
	"lap/sandbox/docker"
	"lap/sandbox/native"
)

// An observer looks at sandboxes from outside, by all that their runtime leaves to be seen.
// It is safe for concurrent use.
type observer interface {
	// sandbox looks at all of a sandbox but its files.
	sandbox(ctx context.Context, id string) error
	// files looks at its whole file system, and returns what was found there.
	files(ctx context.Context, id string) (found []string, err error)
	// shared looks at what it has in common with others.
	shared(ctx context.Context, id string) error
	// search is the command by which a sandbox searches its files for canaries.
	search() string
	// remove removes what is left of the sandboxes of some agents.
	remove(ctx context.Context, agents []string) error
	Close() error
}

// observe finds out with what the server runs sandboxes.
func (a *audit) observe(ctx context.Context) error {
	got, err := a.api.as("health").do(ctx, http.MethodGet, "/api/v1/health/sandbox", nil)
	if err != nil {
		return err
	}
	var health struct {
		OK      bool
		Runtime string
		Error   string
	}
	if err := json.Unmarshal(got.text, &health); err != nil {
		return err
	}
	switch {
	case !health.OK && health.Runtime == sandbox.Docker:
		return fmt.Errorf("the audit needs a Docker engine: %s", health.Error)
	case !health.OK:
		return errors.New("the audit needs sandboxes: " + health.Error)
	case health.Runtime == sandbox.Docker:
		a.boxes = inspector{docker.New(docker.Config{Owner: "audit"}), a.ledger}
	default:
		dir := filepath.Join(a.world.data, "native")
		a.boxes = onlooker{native.New(native.Config{Dir: dir, Guest: a.cfg.Binary}), a.ledger, dir}
	}
	return nil
}
