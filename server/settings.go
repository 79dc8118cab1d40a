package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lap/sandbox"
	"lap/sandbox/docker"
	"lap/sandbox/vault/rule"
	"lap/sandbox/vault/swap"
	"lap/server/gateway"
	"lap/server/session"
)

// Settings is the configuration of a server, parsed and checked.
type Settings struct {
	Listen    string
	DataDir   string // of an ephemeral server: where New makes its own
	Ephemeral bool   // the server leaves nothing behind; see LoadEphemeral
	LogFormat string
	LogLevel  string

	MasterKey     string // "": the one kept in the data directory
	EncryptionKey []byte // nil: the one kept in the data directory
	TokenKey      string // "": derived from the master key

	BaseURL      string
	AllowedHosts []string

	GatewayBase  string
	GatewayKey   string
	DefaultModel string
	Scripts      string             // folder of the scripted models' files; "": the one in the data directory
	Cassettes    string             // folder of recorded calls of models; "": the one in the data directory
	ModelPrices  gateway.PriceTable // of models whose price the gateway does not tell

	Limits       sandbox.Limits
	Images       map[string]string // harness id to image
	Pull         docker.PullPolicy
	Sandbox      string            // auto, docker or native
	OCIRuntime   string            // of containers; "": the engine's default
	SandboxEnv   map[string]string // from CONTAINER_ENV_*
	StartTimeout time.Duration
	TurnTimeout  time.Duration
	IdleTimeout  time.Duration // 0: never
	FreezeAfter  time.Duration // 0: never
	Reconcile    time.Duration

	EgressAllow   []rule.Entry              // reachable from every sandbox
	EgressDeny    []rule.Entry              // from none
	DefaultDeny   bool                      // what no list names is refused
	Unbound       string                    // where credentials go that are bound to no host: bound or anywhere
	SwapBodies    swap.Bodies               // in which request bodies stubs are replaced
	Resolve       map[string]netip.AddrPort // what names resolve to for sandboxes, in place of DNS
	EnvPlain      []string                  // names in SandboxEnv that are no secret
	CACert, CAKey string                    // files of a certificate authority; empty: the one kept in the data directory
	ExtraCA       string                    // file of further certificates to trust; empty: none

	Repo          string // cloned for agents that name none
	Pool          session.PoolConfig
	PublicMetrics bool
	Fixture       bool // the server is for tests, which control its world
}

// folder is one that may be set, or else is in the data directory.
func (s *Settings) folder(set, name string) string {
	if set != "" {
		return set
	}
	return filepath.Join(s.DataDir, name)
}

// containerEnv is the prefix of variables that every sandbox gets without it.
const containerEnv = "CONTAINER_ENV_"

// clientNames are variables of the LAP_ family that the server leaves to others.
var clientNames = []string{"LAP_BINARY", "LAP_MASTER_KEY", "LAP_MASTER_KEY_FILE", "LAP_CONFIG", "LAP_TTY_TOKEN", "LAP_TTY_FALLBACK", "LAP_DEMO_MODEL"}

// Load parses settings from flags (by flag name; only those that were given) and an
// environment of "NAME=value" entries. A flag wins over the environment, that over the
// default; an empty variable counts as not set. Every bad value is reported at once.
// The warnings name variables that look like settings and are none.
func Load(environ []string, flags map[string]string) (s Settings, warnings []string, err error) {
	env := map[string]string{}
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); value != "" {
			env[name] = value
		}
	}
	s.Images, s.SandboxEnv = map[string]string{}, map[string]string{}
	known := slices.Clone(clientNames)
	var errs []error
	for _, row := range Table() {
		known = append(append(known, row.names()...), row.fileNames()...)
		name, value, err := row.value(env, flags)
		if err == nil && value != "" {
			err = row.set(&s, value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	for name, value := range env {
		if key := strings.TrimPrefix(name, containerEnv); key != name && key != "" {
			s.SandboxEnv[key] = value
		}
		if strings.HasPrefix(name, "LAP_") && !slices.Contains(known, name) {
			warnings = append(warnings, name+" is not a setting of lap: see \"lap serve --help\"")
		}
	}
	slices.Sort(warnings)
	return s, warnings, errors.Join(errs...)
}

// names are the variables that set the row, the preferred one first.
func (r Setting) names() []string {
	if r.Env == "" {
		return nil
	}
	return append([]string{r.Env}, r.Aliases...)
}

// fileNames are the variables that name a file holding the value.
func (r Setting) fileNames() []string {
	if !r.Secret {
		return nil
	}
	return []string{r.Env + "_FILE"}
}

// value finds the row's value and the name it came by.
func (r Setting) value(env, flags map[string]string) (name, value string, err error) {
	if v, given := flags[r.Flag]; given && r.Flag != "" {
		return "--" + r.Flag, v, nil
	}
	for _, name := range r.names() {
		if v := env[name]; v != "" {
			return name, v, nil
		}
	}
	for _, name := range r.fileNames() {
		if path := env[name]; path != "" {
			v, err := readSecret(path)
			return name, v, err
		}
	}
	return r.Env, r.Default, nil
}

// readSecret reads a secret from a file that not everybody can read. Files that a
// container engine mounts as secrets are exempt: their mode is the engine's.
func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o007 != 0 && !strings.HasPrefix(filepath.Clean(path), "/run/secrets/") {
		return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("everybody can read or change this file: chmod it to 0600")}
	}
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}
