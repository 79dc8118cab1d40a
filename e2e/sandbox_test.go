package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"lap/client"
)

// Values that must never show where a stranger could read them.
const (
	secretValue  = "s3cr3t-agent-value-4711"
	sessionValue = "s3cr3t-session-value-4712"
	promptText   = "an unmistakable prompt 4713"
	gatewayKey   = "sk-gateway-key-4714"
)

func TestContainerIsSealed(t *testing.T) {
	docker := engine(t)
	s := serve(t, options{env: []string{"LAP_SANDBOX_CPUS=1.5", "LAP_SANDBOX_MEMORY=300m", "LAP_SANDBOX_PIDS=100"}})
	agent := s.agent(t, client.NewAgent{})
	sess := s.session(t, agent.ID, client.NewSession{})
	c, _ := inspect(t, docker, sess)

	host := c.HostConfig
	slices.Sort(host.CapAdd)
	for _, check := range []struct {
		what      string
		got, want any
	}{
		{"network", host.NetworkMode, container.NetworkMode("none")},
		{"privileged", host.Privileged, false},
		{"capabilities dropped", fmt.Sprint(host.CapDrop), "[ALL]"},
		{"capabilities added", fmt.Sprint(host.CapAdd), "[CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_NET_ADMIN CAP_SETGID CAP_SETPCAP CAP_SETUID]"},
		{"security", fmt.Sprint(host.SecurityOpt), "[no-new-privileges]"},
		{"cpus", host.NanoCPUs, int64(1_500_000_000)},
		{"memory", host.Memory, int64(300 << 20)},
		{"memory and swap", host.MemorySwap, int64(300 << 20)},
		{"processes", *host.PidsLimit, int64(100)},
		{"published ports", len(host.PortBindings), 0},
		{"host folders", len(host.Binds), 0},
		{"devices", len(host.Devices), 0},
		{"restart", host.RestartPolicy.Name, container.RestartPolicyMode("no")},
		{"session label", c.Config.Labels["dev.lap.session"], sess.ID},
		{"agent label", c.Config.Labels["dev.lap.agent"], agent.ID},
		{"owner label", c.Config.Labels["dev.lap.owner"] != "", true},
		{"log", host.LogConfig.Type, "none"},
	} {
		if check.got != check.want {
			t.Errorf("%s = %v, want %v", check.what, check.got, check.want)
		}
	}
	for _, m := range c.Mounts {
		if m.Type != "volume" || m.RW {
			t.Errorf("mount %s is a writable %s", m.Destination, m.Type)
		}
	}
}

func TestProbesFromInside(t *testing.T) { onEach(t, testProbesFromInside) }

func testProbesFromInside(t *testing.T, on runtime) {
	s := on.serve(t, options{env: []string{"LAP_SANDBOX_PIDS=100"}})
	sess := s.session(t, s.agent(t, client.NewAgent{}).ID, client.NewSession{})
	for _, probe := range []struct{ what, command, want string }{
		{"interfaces", "ls /sys/class/net", "lo"},
		{"routes", "cat /proc/net/route | wc -l", "1"}, // the heading
		{"first process", "cat /proc/1/comm", "lap"},
		{"new privileges", "grep NoNewPrivs /proc/self/status | cut -f2", "1"},
		{"effective capabilities", "grep CapEff /proc/self/status | cut -f2", "00000000000000cb"},
		{"bounding capabilities", "grep CapBnd /proc/self/status | cut -f2", "00000000000000cb"},
		{"seccomp filter", "grep Seccomp: /proc/self/status | cut -f2", "2"},
		{"lap itself is read-only", "{ echo >>/.lap/lap; } 2>/dev/null || echo refused", "refused"},
		{"packages can own files", "touch /tmp/f && chown 1000:1000 /tmp/f && stat -c %u /tmp/f", "1000"},
		{"no device of the host", "ls /dev | grep -c -e sda -e vda", "0"},
		{"orphans are collected", "for i in 1 2 3; do (sleep 0.05 & ) ; done; sleep 0.5; cat /proc/[0-9]*/stat | grep -c ') Z '", "0"},
		{"the working directory stays", "cd /usr && pwd", "/usr"},
		{"across calls", "pwd", "/usr"},
	} {
		if strings.Contains(probe.command, "chown") && on.engine == nil && os.Geteuid() != 0 {
			continue // lap can give a sandbox no other users then
		}
		if got := s.sh(t, sess.ID, probe.command); firstLine(got) != probe.want {
			t.Errorf("%s: %q printed %q, want %q", probe.what, probe.command, got, probe.want)
		}
	}
}

// firstLine leaves out what the agent says of an exit code.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func TestForkBombStaysInside(t *testing.T) { onEach(t, testForkBombStaysInside) }

func testForkBombStaysInside(t *testing.T, on runtime) {
	s := on.serve(t, options{env: []string{"LAP_SANDBOX_PIDS=64"}})
	sess := s.session(t, s.agent(t, client.NewAgent{}).ID, client.NewSession{})
	s.sh(t, sess.ID, "sh -c 'i=0; while [ $i -lt 300 ]; do sleep 60 & i=$((i+1)); done' >/dev/null 2>&1; true") // sh gives up at once
	if got := s.sh(t, sess.ID, "echo now"); !strings.Contains(got, "unavailable") && !strings.Contains(got, "now") {
		t.Errorf("with no process left the sandbox printed %q", got)
	}
	s.sh(t, sess.ID, "for p in /proc/[0-9]*; do read -r name <$p/comm && [ $name = sleep ] && kill -9 ${p#/proc/}; done; true")
	if got := s.sh(t, sess.ID, "echo alive"); got != "alive" {
		t.Errorf("after a fork bomb the sandbox printed %q", got)
	}
}

func TestAnyLinuxImageWorks(t *testing.T) {
	engine(t)
	s := serve(t, options{})
	sess := s.session(t, s.agent(t, client.NewAgent{HarnessImage: "debian:bookworm-slim"}).ID, client.NewSession{})
	if got := s.sh(t, sess.ID, ". /etc/os-release; echo $ID"); got != "debian" {
		t.Errorf("printed %q", got)
	}
}

func TestEnvironmentInside(t *testing.T) { onEach(t, testEnvironmentInside) }

func testEnvironmentInside(t *testing.T, on runtime) {
	s := on.serve(t, options{env: []string{"CONTAINER_ENV_A=operator", "CONTAINER_ENV_B=operator", "CONTAINER_ENV_C=operator", "CONTAINER_ENV_MASTER_KEY=no", "LITELLM_API_KEY=" + gatewayKey}})
	agent := s.agent(t, client.NewAgent{EnvVars: map[string]string{"B": "agent", "C": "agent", "SESSION_ID": "mine"}, EnvPlain: []string{"B", "C"}})
	sess := s.session(t, agent.ID, client.NewSession{EnvVars: map[string]string{"C": "session"}, EnvPlain: []string{"C"}})
	for name, want := range map[string]string{
		"A": "operator", "B": "agent", "C": "session", "SESSION_ID": sess.ID, "AGENT_ID": agent.ID,
		"MASTER_KEY": "", "LITELLM_API_BASE": "http://127.0.0.1:4000", "LITELLM_DEFAULT_MODEL": "scripted/echo",
		"PORT": "4096", "BRANCH": "main", "HOME": "/root",
	} {
		if got := s.sh(t, sess.ID, "echo \"<$"+name+">\""); got != "<"+want+">" {
			t.Errorf("%s = %s, want %q", name, got, want)
		}
	}
	if got := s.sh(t, sess.ID, "echo $LITELLM_API_KEY"); !strings.HasPrefix(got, "stub_litellm_api_key_") {
		t.Errorf("LITELLM_API_KEY = %q, want a stub", got)
	}
}

func TestOCIRuntime(t *testing.T) {
	on := onDocker(t)
	s := on.serve(t, options{env: []string{"LAP_OCI_RUNTIME=runc"}})
	sess := s.session(t, s.agent(t, client.NewAgent{}).ID, client.NewSession{})
	if c, _ := inspect(t, on.engine, sess); c.HostConfig.Runtime != "runc" {
		t.Errorf("the container's runtime is %q", c.HostConfig.Runtime)
	}
	other := on.serve(t, options{args: []string{"--oci-runtime", "nowhere"}})
	if reason := other.failure(t, other.agent(t, client.NewAgent{}).ID, client.NewSession{}); !strings.Contains(reason, "nowhere") {
		t.Errorf("without that runtime: %s", reason)
	}
}
