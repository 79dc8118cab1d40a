//go:build linux

package guest

import (
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"

	"lap/sandbox"
)

// maxVariable is what Linux takes of one "KEY=value" at most (MAX_ARG_STRLEN). A longer
// one would make every command of the session fail to start.
const maxVariable = 128<<10 - 1

// An environment is what the harness and its tools get: the image's own variables,
// then those of the boot.
type environment map[string]string

func newEnvironment(boot sandbox.Boot) environment {
	env := environment{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG": "C.UTF-8",
		"TERM": "xterm-256color",
	}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	maps.Copy(env, boot.Env)
	if env["HOME"] == "" || env["HOME"] == "/" {
		env["HOME"] = homeDir()
	}
	return env
}

// homeDir is the home of the user the guest runs as. Images without a user database
// get root's usual one.
func homeDir() string {
	if u, err := user.Current(); err == nil && u.HomeDir != "" && u.HomeDir != "/" {
		return u.HomeDir
	}
	return "/root"
}

func (e environment) home() string { return e["HOME"] }

// list is e as os/exec takes it.
func (e environment) list() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if len(name)+1+len(e[name]) < maxVariable {
			all = append(all, name+"="+e[name])
		}
	}
	return all
}
