package mirror

import (
	"fmt"
	"os"
	"slices"
)

// A setting is a line of git's configuration.
type setting struct{ key, value string }

// settings hold for every run, and stand in for the configuration of the host.
var settings = []setting{
	{"credential.helper", ""}, // forgets what was named before
	{"core.hooksPath", os.DevNull},
	{"core.fsmonitor", "false"},
	{"core.attributesFile", os.DevNull},
	{"http.followRedirects", "initial"}, // a renamed repository is redirected
	{"http.lowSpeedLimit", "1"},         // bytes a second; a server at work on a pack sends one now and then
	{"http.lowSpeedTime", "30"},
	{"gc.auto", "0"}, // would go on in the background; sweep does it
	{"maintenance.auto", "false"},
	{"gc.packRefs", "false"}, // the time of a ref's file is when its branch was last used
	{"fetch.unpackLimit", "1"},
	{"pack.writeReverseIndex", "false"},
}

const sshCommand = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=20" +
	" -o ServerAliveInterval=10 -o ServerAliveCountMax=3 -o ControlMaster=no"

// inherited are the variables of lap's own environment that git may see: how to find
// programs, the user's ssh agent, proxies and certificates. All others could change what
// git does, or make it write secrets into a trace.
var inherited = []string{
	"PATH", "TMPDIR", "USER", "LOGNAME", "SSH_AUTH_SOCK",
	"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
	"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_PROXY_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR",
}

// environment is git's. HOME is nowhere, else curl would read a .netrc, and a repository
// would open to callers who have no right to it; ssh finds its files without it.
func environment(c command) []string {
	env := []string{
		"HOME=" + os.DevNull, "LC_ALL=C", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "GIT_ALLOW_PROTOCOL=http:https:ssh:git",
		"GIT_SSH_COMMAND=" + sshCommand, "GIT_DEFAULT_REF_FORMAT=files",
	}
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	if file := os.Getenv("SSL_CERT_FILE"); file != "" && os.Getenv("GIT_SSL_CAINFO") == "" {
		env = append(env, "GIT_SSL_CAINFO="+file) // what Go programs, and so lap itself, go by
	}
	all := slices.Concat(settings, c.config)
	for i, s := range all {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, s.key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, s.value))
	}
	env = append(env, fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(all)))
	dir := os.DevNull // so that git does not look for a repository around it
	if c.dir != "" {
		dir = c.dir
	}
	return append(append(env, "GIT_DIR="+dir), c.env...)
}
