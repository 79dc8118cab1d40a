package server

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"lap/db"
	"lap/sandbox"
	"lap/sandbox/docker"
	"lap/sandbox/vault/rule"
	"lap/server/gateway"
)

// A Setting is one row of the table that parsing, help and docs are made from.
type Setting struct {
	Flag    string   // without dashes; "": none
	Env     string   // the variable
	Aliases []string // other variables that are taken for it
	Default string
	Help    string
	Secret  bool // also read from the file that <Env>_FILE names
	Switch  bool // true or false; the flag, which it has, alone is true
	set     func(*Settings, string) error
}

// Table returns every setting of "lap serve".
func Table() []Setting {
	rows := []Setting{
		{Flag: "listen", Env: "LAP_LISTEN", Aliases: []string{"PORT"}, Default: "127.0.0.1:3000", Help: "address to serve on, host:port", set: setListen},
		{Flag: "data-dir", Env: "LAP_DATA_DIR", Default: "~/.lap", Help: "directory of the database and the keys", set: setDataDir},
		{Flag: "log-format", Env: "LAP_LOG_FORMAT", Default: "text", Help: "text or json", set: oneOf(func(s *Settings) *string { return &s.LogFormat }, "text", "json")},
		{Flag: "log-level", Env: "LAP_LOG", Default: "info", Help: "debug, info, warn or error", set: oneOf(func(s *Settings) *string { return &s.LogLevel }, "debug", "info", "warn", "error")},
		{Env: "MASTER_KEY", Secret: true, Help: "bearer token of the API, at least 8 characters (16 when not on loopback); made once and kept in the data directory when not set", set: text(func(s *Settings) *string { return &s.MasterKey }, 8)},
		{Env: "ENCRYPTION_KEY", Secret: true, Help: "base64 of the 32 bytes that encrypt stored env_vars; made once and kept in the data directory when not set", set: setEncryptionKey},
		{Env: "HARNESS_TOKEN_SIGNING_KEY", Secret: true, Help: "key of agent tokens, at least 16 characters; derived from the master key when not set", set: text(func(s *Settings) *string { return &s.TokenKey }, 16)},
		{Env: "BASE_URL", Aliases: []string{"LAP_BASE_URL"}, Help: "public URL of this server, for links", set: setURL(func(s *Settings) *string { return &s.BaseURL })},
		{Env: "LAP_ALLOWED_HOSTS", Help: "comma list of further names under which this server may be reached", set: setAllowedHosts},
		{Env: "LITELLM_API_BASE", Help: "URL of the model gateway, any OpenAI- or Anthropic-compatible one", set: setURL(func(s *Settings) *string { return &s.GatewayBase })},
		{Env: "LITELLM_API_KEY", Secret: true, Help: "key of the model gateway; never enters a sandbox", set: text(func(s *Settings) *string { return &s.GatewayKey }, 1)},
		{Env: "LITELLM_DEFAULT_MODEL", Help: "model of agents that are created without one", set: text(func(s *Settings) *string { return &s.DefaultModel }, 1)},
		{Env: "LAP_SCRIPTS", Help: "folder of the files of scripted models; scripts in the data directory when not set", set: text(func(s *Settings) *string { return &s.Scripts }, 1)},
		{Env: "LAP_CASSETTES", Help: "folder of recorded calls of models, such as testdata/cassettes of a repository; cassettes in the data directory when not set", set: text(func(s *Settings) *string { return &s.Cassettes }, 1)},
		{Env: "LAP_MODEL_PRICES", Help: "comma list of what models cost whose price the gateway does not tell, for budgets in dollars: gpt-5=1.25/10 or claude-*=3/15/0.3/3.75, dollars per million tokens of input/output/cache reads/cache writes", set: setModelPrices},
		{Flag: "sandbox", Env: "LAP_SANDBOX", Default: auto, Help: "what runs sandboxes: docker; native: Linux namespaces on this machine; auto: Docker if its engine answers, else native", set: oneOf(func(s *Settings) *string { return &s.Sandbox }, auto, sandbox.Docker, sandbox.Native)},
		{Flag: "oci-runtime", Env: "LAP_OCI_RUNTIME", Help: "runtime of Docker sandboxes that the engine knows, such as runsc for gVisor; the engine's default when not set", set: text(func(s *Settings) *string { return &s.OCIRuntime }, 1)},
		{Env: "LAP_SANDBOX_CPUS", Default: "2", Help: "cores that one sandbox may use; 0: no limit", set: setCPUs},
		{Env: "LAP_SANDBOX_MEMORY", Default: "2g", Help: "memory and swap that one sandbox may use; 0: no limit", set: setMemory},
		{Env: "LAP_SANDBOX_PIDS", Default: "512", Help: "processes and threads that one sandbox may have; 0: no limit", set: setPIDs},
		{Env: "LAP_SANDBOX_DISK", Default: "10g", Help: "files that one native sandbox may add or change; 0: no limit", set: setDisk},
		{Env: "LAP_PULL", Default: "missing", Help: "when to fetch images: missing, always or never", set: setPull},
		{Env: "LAP_START_TIMEOUT", Default: "10m", Help: "how long a session may make no progress while it is brought up", set: duration(func(s *Settings) *time.Duration { return &s.StartTimeout })},
		{Env: "LAP_TURN_TIMEOUT", Default: "30m", Help: "how long one turn may take, waiting included", set: duration(func(s *Settings) *time.Duration { return &s.TurnTimeout })},
		{Env: "LAP_IDLE_TIMEOUT", Default: "24h", Help: "idle time after which a session ends; 0: never", set: durationOrNever(func(s *Settings) *time.Duration { return &s.IdleTimeout })},
		{Env: "LAP_FREEZE_AFTER", Default: "10m", Help: "idle time after which a sandbox is paused until it is used again; 0: never", set: durationOrNever(func(s *Settings) *time.Duration { return &s.FreezeAfter })},
		{Env: "RECONCILE_INTERVAL_SECONDS", Default: "60", Help: "seconds between two comparisons of sessions with containers", set: whole(time.Second, func(s *Settings) *time.Duration { return &s.Reconcile })},
		{Env: "PREINSTALLED_GITHUB_REPO", Help: "URL of the repository that agents without repo_url work on", set: setRepo},
		{Env: "WARM_POOL_SIZE", Default: "2", Help: "sandboxes kept warm, one for each agent that was used lately; 0: none", set: count(func(s *Settings) *int { return &s.Pool.Size })},
		{Env: "WARM_POOL_MAX_PROVISIONING", Default: "2", Help: "warm sandboxes made at once", set: setProvisioning},
		{Env: "WARM_POOL_TTL_MINUTES", Default: "30", Help: "minutes after which a warm sandbox is made anew", set: whole(time.Minute, func(s *Settings) *time.Duration { return &s.Pool.TTL })},
		{Env: "WARM_POOL_RECENT_AGENT_HOURS", Default: "24", Help: "agents with a session in so many hours were used lately", set: whole(time.Hour, func(s *Settings) *time.Duration { return &s.Pool.Recent })},
		{Env: "WARM_POOL_PRIORITY_AGENT_ID", Help: "agent with warm sandboxes of its own", set: text(func(s *Settings) *string { return &s.Pool.PriorityAgent }, 1)},
		{Env: "WARM_POOL_PRIORITY_SIZE", Default: "1", Help: "how many those are", set: count(func(s *Settings) *int { return &s.Pool.PrioritySize })},
		{Env: "LAP_WARM_MEMORY", Default: "512m", Help: "memory that all warm sandboxes may take; 0: no limit", set: size(func(s *Settings) *int64 { return &s.Pool.Memory })},
		{Env: "EGRESS_DEFAULT_DENY", Default: "false", Help: "true: sandboxes reach only what allow_out of their agent or LAP_EGRESS_ALLOW names, unless the agent says otherwise", set: boolean(func(s *Settings) *bool { return &s.DefaultDeny })},
		{Env: "LAP_EGRESS_ALLOW", Help: "comma list of hosts, such as *.example.com or 10.0.0.0/8, that every sandbox may reach beside its agent's allow_out; it limits nothing itself", set: hostList(func(s *Settings) *[]rule.Entry { return &s.EgressAllow })},
		{Env: "LAP_EGRESS_DENY", Help: "comma list of hosts that no sandbox may reach, whatever its agent allows", set: hostList(func(s *Settings) *[]rule.Entry { return &s.EgressDeny })},
		{Env: "LAP_RESOLVE", Help: "comma list of name=address or name=address:port: where sandboxes are connected to in place of what DNS says; such an address may be private", set: setResolve},
		{Env: "LAP_UNBOUND", Default: "bound", Help: "bound: credentials without env_var_hosts go where their name suggests, else to the agent's allow_out; anywhere: to any host, which opens all TLS", set: oneOf(func(s *Settings) *string { return &s.Unbound }, "bound", "anywhere")},
		{Env: "LAP_SWAP_BODIES", Default: "oauth", Help: "request bodies in which stubs are replaced: oauth: the secret fields of forms; text: all text, JSON and forms", set: setBodies},
		{Env: "LAP_ENV_PLAIN", Help: "comma list of CONTAINER_ENV_ names, without the prefix, whose values sandboxes see although they look like secrets", set: setEnvPlain},
		{Env: "LAP_CA_CERT", Help: "file of the certificate authority that sandboxes trust, PEM; made once and kept in the data directory when not set", set: text(func(s *Settings) *string { return &s.CACert }, 1)},
		{Env: "LAP_CA_KEY", Help: "file of the key of LAP_CA_CERT, PEM; set both or neither", set: text(func(s *Settings) *string { return &s.CAKey }, 1)},
		{Env: "LAP_EXTRA_CA", Help: "file of further certificates that lap and sandboxes trust, PEM, such as those of a company's proxy", set: text(func(s *Settings) *string { return &s.ExtraCA }, 1)},
		{Flag: "fixture", Env: "LAP_FIXTURE", Default: "false", Switch: true, Help: "true: a server for tests, whose clock, faults and state the routes under /api/v1/fixture control", set: boolean(func(s *Settings) *bool { return &s.Fixture })},
		{Env: "LAP_METRICS_PUBLIC", Default: "false", Help: "true: /api/v1/metrics needs no key", set: boolean(func(s *Settings) *bool { return &s.PublicMetrics })},
	}
	for _, h := range sandbox.Harnesses() {
		if h.Image == "" {
			continue
		}
		rows = append(rows, Setting{
			Env: "LAP_IMAGE_" + envName(h.ID), Default: h.Image, Help: "image of sandboxes with harness " + h.ID,
			set: func(s *Settings, v string) error { s.Images[h.ID] = v; return nil },
		})
	}
	return rows
}

func envName(id string) string { return strings.ToUpper(strings.ReplaceAll(id, "-", "_")) }

// text accepts a value of at least n characters.
func text(field func(*Settings) *string, n int) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		if len([]rune(v)) < n {
			return fmt.Errorf("needs at least %d characters", n)
		}
		*field(s) = v
		return nil
	}
}

func oneOf(field func(*Settings) *string, values ...string) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("%q is none of %s", v, strings.Join(values, ", "))
		}
		*field(s) = v
		return nil
	}
}

func duration(field func(*Settings) *time.Duration) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is no duration above zero, such as 90s or 10m", v)
		}
		*field(s) = d
		return nil
	}
}

// setListen takes host:port, or a bare port as platforms put it into PORT.
func setListen(s *Settings, v string) error {
	if _, err := strconv.ParseUint(v, 10, 16); err == nil {
		v = net.JoinHostPort("127.0.0.1", v)
	}
	_, port, err := net.SplitHostPort(v)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is no address, such as 127.0.0.1:3000", v)
	}
	s.Listen = v
	return nil
}

func setDataDir(s *Settings, v string) error {
	if rest, ok := strings.CutPrefix(v, "~"); ok && (rest == "" || rest[0] == '/') {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		v = home + rest
	}
	abs, err := filepath.Abs(v)
	s.DataDir = abs
	return err
}

// setEncryptionKey never repeats the value in its error.
func setEncryptionKey(s *Settings, v string) error {
	key, err := base64.StdEncoding.DecodeString(v)
	if err != nil || len(key) != db.KeySize {
		return errors.New("needs base64 of exactly 32 bytes: make one with \"openssl rand -base64 32\"")
	}
	s.EncryptionKey = key
	return nil
}

func setURL(field func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		u, err := url.Parse(v)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return errors.New("needs an absolute URL, such as https://litellm.example.com") // the value may hold a password
		}
		*field(s) = strings.TrimRight(v, "/")
		return nil
	}
}

func setAllowedHosts(s *Settings, v string) error {
	s.AllowedHosts = commaList(v)
	return nil
}

// commaList is what v lists, without blanks.
func commaList(v string) []string {
	var list []string
	for entry := range strings.SplitSeq(v, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			list = append(list, entry)
		}
	}
	return list
}

func setModelPrices(s *Settings, v string) (err error) {
	s.ModelPrices, err = gateway.ParsePrices(v)
	return err
}

func setCPUs(s *Settings, v string) error {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || n < 0 || n > 0 && n < 0.01 || n > 4096 {
		return fmt.Errorf("%q is no number of cores, such as 2 or 0.5", v)
	}
	s.Limits.CPUs = n
	return nil
}

// minMemory is what engines ask for at least.
const minMemory = 6 << 20

func setMemory(s *Settings, v string) error {
	n, err := units.RAMInBytes(v)
	if err != nil || n < 0 || n > 0 && n < minMemory {
		return fmt.Errorf("%q is no size of at least 6m, such as 512m or 2g", v)
	}
	s.Limits.Memory = n
	return nil
}

// minPIDs is what the guest and one command need at least.
const minPIDs = 48

func setPIDs(s *Settings, v string) error {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n < 0 || n > 0 && n < minPIDs {
		return fmt.Errorf("%q is no number of at least %d", v, minPIDs)
	}
	s.Limits.PIDs = n
	return nil
}

// minDisk is what a sandbox needs to be of any use.
const minDisk = 16 << 20

func setDisk(s *Settings, v string) error {
	n, err := units.RAMInBytes(v)
	if err != nil || n < 0 || n > 0 && n < minDisk {
		return fmt.Errorf("%q is no size of at least 16m, such as 512m or 10g", v)
	}
	s.Limits.Disk = n
	return nil
}

func setPull(s *Settings, v string) error {
	switch p := docker.PullPolicy(v); p {
	case docker.PullMissing, docker.PullAlways, docker.PullNever:
		s.Pull = p
		return nil
	}
	return fmt.Errorf("%q is none of missing, always, never", v)
}

// durationOrNever is duration with 0 for never.
func durationOrNever(field func(*Settings) *time.Duration) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is no duration, such as 90s or 24h, or 0 for never", v)
		}
		*field(s) = d
		return nil
	}
}

// whole accepts a whole number of units above zero.
func whole(unit time.Duration, field func(*Settings) *time.Duration) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no whole number above zero", v)
		}
		*field(s) = time.Duration(n) * unit
		return nil
	}
}

// maxCount is more sandboxes than any machine keeps.
const maxCount = 1000

func count(field func(*Settings) *int) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > maxCount {
			return fmt.Errorf("%q is no whole number from 0 to %d", v, maxCount)
		}
		*field(s) = n
		return nil
	}
}

func setProvisioning(s *Settings, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxCount {
		return fmt.Errorf("%q is no whole number from 1 to %d", v, maxCount)
	}
	s.Pool.MaxProvisioning = n
	return nil
}

// size accepts a number of bytes, such as 512m.
func size(field func(*Settings) *int64) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		n, err := units.RAMInBytes(v)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no size, such as 512m or 2g", v)
		}
		*field(s) = n
		return nil
	}
}

// setRepo takes the URL of a repository. It may not hold a password: agents see it.
func setRepo(s *Settings, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.User != nil && u.Scheme != "ssh" || !slices.Contains([]string{"https", "http", "ssh", "git"}, u.Scheme) {
		return errors.New("needs a URL of scheme https, http, ssh or git without a password, such as https://github.com/owner/repo")
	}
	s.Repo = v
	return nil
}

func boolean(field func(*Settings) *bool) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		is, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", v)
		}
		*field(s) = is
		return nil
	}
}
