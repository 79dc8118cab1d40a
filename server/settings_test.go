package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lap/server"
)

func TestLoadDefaults(t *testing.T) {
	t.Setenv("HOME", "/home/someone")
	s, warnings, err := server.Load(nil, nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("error %v, warnings %v", err, warnings)
	}
	if s.Listen != "127.0.0.1:3000" || s.DataDir != "/home/someone/.lap" || s.Limits.CPUs != 2 || s.Limits.Memory != 2<<30 ||
		s.Limits.PIDs != 512 || s.TurnTimeout != 30*time.Minute || s.Pull != "missing" || s.Images["lap"] != "buildpack-deps:bookworm-scm" {
		t.Errorf("defaults = %+v", s)
	}
}

func TestLoadPrecedence(t *testing.T) {
	env := []string{"LAP_LISTEN=127.0.0.1:1", "PORT=2", "MASTER_KEY=", "LAP_BASE_URL=https://lap.example.com/", "CONTAINER_ENV_X=y", "CONTAINER_ENV_=z"}
	s, _, err := server.Load(env, map[string]string{"listen": "127.0.0.1:3"})
	if err != nil || s.Listen != "127.0.0.1:3" || s.BaseURL != "https://lap.example.com" {
		t.Errorf("flag over variable: %+v, %v", s, err)
	}
	if len(s.SandboxEnv) != 1 || s.SandboxEnv["X"] != "y" {
		t.Errorf("sandbox environment = %v", s.SandboxEnv)
	}
	if s, _, err = server.Load(env, nil); err != nil || s.Listen != "127.0.0.1:1" {
		t.Errorf("variable over alias: %s, %v", s.Listen, err)
	}
	if s, _, err = server.Load([]string{"PORT=2"}, nil); err != nil || s.Listen != "127.0.0.1:2" {
		t.Errorf("bare port: %s, %v", s.Listen, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, bad := range map[string][]string{
		"MASTER_KEY":                 {"short"},
		"ENCRYPTION_KEY":             {"abc", "AAAA", "not base64 at all, but 44 characters long.."},
		"HARNESS_TOKEN_SIGNING_KEY":  {"fifteen chars.."},
		"LITELLM_API_BASE":           {"litellm:4000", "ftp://x", "/v1", "http://"},
		"BASE_URL":                   {"example.com"},
		"LAP_LISTEN":                 {"nowhere", "127.0.0.1:x", "127.0.0.1:99999"},
		"LAP_SANDBOX_CPUS":           {"-1", "many", "0.001"},
		"LAP_SANDBOX_MEMORY":         {"lots", "1k", "-2g"},
		"LAP_SANDBOX_PIDS":           {"3", "x"},
		"LAP_SANDBOX_DISK":           {"1m", "much", "-1g"},
		"LAP_PULL":                   {"sometimes"},
		"LAP_LOG":                    {"loud"},
		"LAP_MODEL_PRICES":           {"gpt-5", "gpt-5=1", "=1/2", "a*b=1/2", "a=1/2,a=3/4", "a=-1/2", "a=1/NaN", "a=1/2/3/4/5", "a=1/2e9", "a=x/y"},
		"LAP_TURN_TIMEOUT":           {"30", "-1m", "0s"},
		"RECONCILE_INTERVAL_SECONDS": {"0", "1m"},
	} {
		for _, value := range bad {
			_, _, err := server.Load([]string{name + "=" + value}, nil)
			if err == nil || !strings.HasPrefix(err.Error(), name+": ") {
				t.Errorf("%s=%s: error %v does not begin with the name", name, value, err)
			}
			if err != nil && strings.HasSuffix(name, "_KEY") && strings.Contains(err.Error(), value) {
				t.Errorf("%s: the error repeats the secret: %v", name, err)
			}
		}
	}
}

func TestLoadReportsEverythingAtOnce(t *testing.T) {
	_, _, err := server.Load([]string{"LAP_PULL=x", "MASTER_KEY=x", "LAP_SANDBOX_PIDS=x"}, nil)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("error = %v, want three lines", err)
	}
}

func TestLoadWarnsOfUnknownNames(t *testing.T) {
	_, warnings, err := server.Load([]string{"LAP_SANDBOX_CPU=2", "LAP_MASTER_KEY=x", "LAP_BINARY=x", "LAP_IMAGE_LAP=x", "OTHER=1"}, nil)
	if err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "LAP_SANDBOX_CPU ") {
		t.Errorf("warnings %q, error %v", warnings, err)
	}
}

func TestSecretFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("from-a-file-123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _, err := server.Load([]string{"MASTER_KEY_FILE=" + path}, nil)
	if err != nil || s.MasterKey != "from-a-file-123" {
		t.Errorf("key %q, error %v", s.MasterKey, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := server.Load([]string{"MASTER_KEY_FILE=" + path}, nil); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that everybody can read: %v", err)
	}
	if _, _, err := server.Load([]string{"MASTER_KEY_FILE=" + path + ".none"}, nil); err == nil {
		t.Error("a missing file was ignored")
	}
}

func TestConfigurationIsDocumented(t *testing.T) {
	const path = "../docs/configuration.md"
	want := configurationPage()
	if os.Getenv("LAP_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the settings say (error %v): run make generate", path, err)
	}
}

// configurationPage is docs/configuration.md.
func configurationPage() string {
	var b strings.Builder
	b.WriteString(`<!-- Made from server/table.go by "make generate"; do not edit. -->

# Configuration

Every setting of ` + "`lap serve`" + `. A flag wins over its variable, that over the default; an empty
variable counts as not set. All bad values are reported at once, and the server does not
start. A variable that begins with LAP_ and is no setting is named in the log.

| flag | variable | default | meaning |
|---|---|---|---|
`)
	for _, row := range server.Table() {
		flag, names := "", "`"+row.Env+"`"
		if row.Flag != "" {
			flag = "`--" + row.Flag + "`"
		}
		for _, alias := range row.Aliases {
			names += ", `" + alias + "`"
		}
		if row.Secret {
			names += ", `" + row.Env + "_FILE`"
		}
		value := row.Default
		if value != "" {
			value = "`" + value + "`"
		}
		b.WriteString("| " + flag + " | " + names + " | " + value + " | " + row.Help + " |\n")
	}
	b.WriteString(`| | ` + "`CONTAINER_ENV_<NAME>`" + ` | | sets NAME in every sandbox, below the agent's and the session's env_vars |

A file named by a ` + "`_FILE`" + ` variable must not be readable by everybody, unless it is in
/run/secrets. The Docker endpoint comes from ` + "`DOCKER_HOST`" + `, ` + "`DOCKER_CONTEXT`" + ` or the current
context, as for the docker command.
`)
	return b.String()
}

func TestLoadEphemeral(t *testing.T) {
	t.Setenv("TMPDIR", "/somewhere")
	env := []string{"PORT=2", "LAP_LISTEN=0.0.0.0:3", "LAP_DATA_DIR=/data", "LAP_LOG=", "BASE_URL=/"} // the last by Vite
	s, warnings, err := server.LoadEphemeral(env, nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("error %v, warnings %v", err, warnings)
	}
	if !s.Ephemeral || s.Listen != "127.0.0.1:0" || s.DataDir != "/somewhere" || s.LogLevel != "warn" || s.Pool.Size != 0 || s.BaseURL != "" {
		t.Errorf("defaults = %+v", s)
	}
	other, _, err := server.LoadEphemeral(nil, nil)
	if err != nil || len(s.MasterKey) < 40 || len(s.EncryptionKey) != 32 || s.MasterKey == other.MasterKey || string(s.EncryptionKey) == string(other.EncryptionKey) {
		t.Errorf("keys are short or shared, error %v", err)
	}
	env = append(env, "LAP_LOG=debug", "WARM_POOL_SIZE=3", "MASTER_KEY=12345678")
	s, _, err = server.LoadEphemeral(env, map[string]string{"listen": "127.0.0.1:4"})
	if err != nil || s.Listen != "127.0.0.1:4" || s.LogLevel != "debug" || s.Pool.Size != 3 || s.MasterKey != "12345678" {
		t.Errorf("settings = %+v, error %v", s, err)
	}
}
