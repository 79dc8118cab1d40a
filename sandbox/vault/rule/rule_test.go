package rule_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/sandbox/vault/rule"
)

// set makes a Set of its parts, such as "allow x.com y.com; deny z.com; default".
func set(t *testing.T, text string) rule.Set {
	t.Helper()
	var s rule.Set
	for part := range strings.SplitSeq(text, ";") {
		what, list, _ := strings.Cut(strings.TrimSpace(part), " ")
		switch what {
		case "allow":
			s.Allow = entries(t, list)
		case "deny":
			s.Deny = entries(t, list)
		case "server-allow":
			s.ServerAllow = entries(t, list)
		case "server-deny":
			s.ServerDeny = entries(t, list)
		case "default":
			s.DefaultDeny = true
		case "":
		default:
			t.Fatalf("no such part: %s", what)
		}
	}
	return s
}

func TestHost(t *testing.T) {
	tests := []struct {
		set, host string
		want      bool
		rule      string
	}{
		{"", "x.com", true, "no rule"},
		{"", "1.2.3.4", true, "no rule"},
		{"", "2001:db8::1", true, "no rule"},
		{"default", "x.com", false, "EGRESS_DEFAULT_DENY"},
		{"default", "1.2.3.4", false, "EGRESS_DEFAULT_DENY"},

		{"allow x.com", "x.com", true, "allow_out x.com"},
		{"allow x.com", "X.COM.", true, "allow_out x.com"},
		{"allow x.com", "y.com", false, "no rule"},
		{"allow *.x.com", "a.x.com", true, "allow_out *.x.com"},
		{"allow x.com", "1.2.3.4", false, "no rule"},
		{"allow x.com", "2001:db8::1", false, "no rule"},
		{"allow 1.2.3.0/24", "1.2.3.4", true, "allow_out 1.2.3.0/24"},
		{"allow 1.2.3.0/24", "0x01020304", true, "allow_out 1.2.3.0/24"},
		{"allow 1.2.3.0/24", "x.com", false, "no rule"},
		{"allow 0.0.0.0/0", "1.2.3.4", true, "allow_out 0.0.0.0/0"},
		{"allow 0.0.0.0/0", "2001:db8::1", false, "no rule"},
		{"allow x.com; default", "x.com", true, "allow_out x.com"},
		{"allow x.com; default", "y.com", false, "no rule"},

		{"server-allow x.com", "x.com", true, "LAP_EGRESS_ALLOW x.com"},
		{"server-allow x.com", "y.com", true, "no rule"},
		{"server-allow x.com; default", "x.com", true, "LAP_EGRESS_ALLOW x.com"},
		{"server-allow x.com; default", "y.com", false, "EGRESS_DEFAULT_DENY"},
		{"allow y.com; server-allow x.com", "x.com", true, "LAP_EGRESS_ALLOW x.com"},
		{"allow y.com; server-allow x.com", "z.com", false, "no rule"},

		{"deny x.com", "x.com", false, "deny_out x.com"},
		{"deny x.com", "X.com", false, "deny_out x.com"},
		{"deny x.com", "x.com.", false, "deny_out x.com"},
		{"deny x.com", "ｘ。com", false, "deny_out x.com"},
		{"deny x.com", "y.com", true, "no rule"},
		{"deny *.x.com", "a.x.com", false, "deny_out *.x.com"},
		{"deny x.com; default", "y.com", false, "EGRESS_DEFAULT_DENY"},
		{"deny 1.2.3.0/24", "1.2.3.4", false, "deny_out 1.2.3.0/24"},
		{"deny 1.2.3.0/24", "0x1020304", false, "deny_out 1.2.3.0/24"},
		{"deny 1.2.3.0/24", "[::ffff:1.2.3.4]", false, "deny_out 1.2.3.0/24"},
		{"deny 1.2.3.0/24", "[64:ff9b::1.2.3.4]", false, "deny_out 1.2.3.0/24"},
		{"deny 1.2.3.0/24", "2002:102:304::1", false, "deny_out 1.2.3.0/24"},
		{"deny 1.2.3.0/24", "1.2.4.4", true, "no rule"},

		{"allow *.x.com; deny a.x.com", "a.x.com", false, "deny_out a.x.com"},
		{"allow *.x.com; deny a.x.com", "b.x.com", true, "allow_out *.x.com"},
		{"allow a.x.com; deny *.x.com", "a.x.com", false, "deny_out *.x.com"},
		{"allow 1.2.3.4; deny 1.2.3.4", "1.2.3.4", false, "deny_out 1.2.3.4"},
		{"server-allow x.com; deny x.com", "x.com", false, "deny_out x.com"},
		{"allow x.com; server-deny x.com", "x.com", false, "LAP_EGRESS_DENY x.com"},
		{"allow localhost; server-deny localhost", "localhost", false, "LAP_EGRESS_DENY localhost"},
		{"deny x.com; server-deny x.com", "x.com", false, "LAP_EGRESS_DENY x.com"},

		{"", "10.1.2.3", false, "private address"},
		{"", "[::1]", false, "loopback address"},
		{"allow 10.1.2.3", "10.1.2.3", true, "allow_out 10.1.2.3"},
		{"allow 10.1.2.3", "[::ffff:10.1.2.3]", true, "allow_out 10.1.2.3"},
		{"server-allow 10.0.0.0/8; default", "10.1.2.3", true, "LAP_EGRESS_ALLOW 10.0.0.0/8"},
		{"allow 0.0.0.0/0", "10.1.2.3", false, "private address"},
		{"allow 10.1.2.3; deny 10.0.0.0/8", "10.1.2.3", false, "deny_out 10.0.0.0/8"},
		{"allow x.com", "10.1.2.3", false, "no rule"},
	}
	for _, tt := range tests {
		got := set(t, tt.set).Host(target(t, tt.host))
		if got.Allowed != tt.want || got.Rule != tt.rule || (got.Reason == "") != got.Allowed {
			t.Errorf("{%s} %s: %+v", tt.set, tt.host, got)
		}
	}
}

func TestHostLocalNames(t *testing.T) {
	for _, host := range []string{
		"localhost", "LOCALHOST.", "a.localhost", "a.b.localhost", "ⓛocalhost", "loc\u00adalhost", "host.docker.internal", "gateway.docker.internal",
		"kubernetes.docker.internal", "host.containers.internal", "metadata.google.internal", "metadata.goog", "metadata", "Metadata.", "instance-data",
		"instance-data.ec2.internal",
	} {
		to := target(t, host)
		for _, open := range []string{"", "allow *.localhost *.internal *.goog *.docker.internal *.metadata *.instance-data", "server-allow *.localhost *.internal"} {
			if got := set(t, open).Host(to); got.Allowed || got.Rule != "local name" && to.Name != "localhost" {
				t.Errorf("{%s} %s: %+v", open, host, got)
			}
		}
		for _, open := range []string{"allow ", "server-allow ", "default; server-allow "} {
			if got := set(t, open+to.Name).Host(to); !got.Allowed {
				t.Errorf("{%s%s} %s: %+v", open, to.Name, host, got)
			}
			if got := set(t, open+to.Name+"; deny "+to.Name).Host(to); got.Allowed {
				t.Errorf("{%s%s; deny} %s: %+v", open, to.Name, host, got)
			}
			if got := set(t, open+to.Name).Address(to, netip.MustParseAddr("127.0.0.1")); got.Allowed {
				t.Errorf("{%s%s} %s opens 127.0.0.1: %+v", open, to.Name, host, got)
			}
		}
	}
	for _, host := range []string{"localhost.example.com", "mylocalhost", "metadata.example", "internal", "api.metadata"} {
		if got := (rule.Set{}).Host(target(t, host)); !got.Allowed {
			t.Errorf("%s: %+v", host, got)
		}
	}
}

func TestHostRefusesWhatWasNotParsed(t *testing.T) {
	for _, to := range []rule.Target{
		{},
		{Port: 443},
		{Name: "X.com", Port: 443},
		{Name: "x.com.", Port: 443},
		{Name: "127.0.0.1", Port: 443},
		{Name: "0x7f.1", Port: 443},
		{Name: "LOCALHOST", Port: 443},
		{Name: "::1", Port: 443},
		{Name: "a b", Port: 443},
		{Name: "x.com", Addr: netip.MustParseAddr("1.2.3.4"), Port: 443},
		{Addr: netip.MustParseAddr("::ffff:1.2.3.4"), Port: 443},
		{Addr: netip.MustParseAddr("fe80::1%eth0"), Port: 443},
	} {
		s := set(t, "allow x.com 1.2.3.4 127.0.0.1 0.0.0.0/0")
		for name, got := range map[string]rule.Decision{
			"host": s.Host(to), "denied": s.Denied(to), "host without rules": rule.Set{}.Host(to),
		} {
			if got.Allowed || got.Reason == "" {
				t.Errorf("%s %#v: %+v", name, to, got)
			}
		}
	}
}

func TestDenied(t *testing.T) {
	tests := []struct {
		set, host string
		want      bool
	}{
		{"allow y.com; default", "x.com", true},
		{"", "10.1.2.3", true},
		{"deny *.x.com", "a.X.com", false},
		{"server-deny x.com", "x.com", false},
		{"deny x.com; allow x.com; server-allow x.com", "x.com", false},
		{"deny 1.2.3.4", "[64:ff9b::1.2.3.4]", false},
	}
	for _, tt := range tests {
		if got := set(t, tt.set).Denied(target(t, tt.host)); got.Allowed != tt.want {
			t.Errorf("{%s} %s: %+v", tt.set, tt.host, got)
		}
	}
}

func TestRestricts(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "server-allow x.com": false, "allow x.com": true, "deny x.com": true, "server-deny x.com": true, "default": true,
	} {
		if got := set(t, text).Restricts(); got != want {
			t.Errorf("{%s} = %t, want %t", text, got, want)
		}
	}
}

func TestReasons(t *testing.T) {
	tests := []struct{ set, host, addr, want string }{
		{
			"allow gitlab.corp", "gitlab.corp", "10.1.2.3",
			"gitlab.corp resolves to 10.1.2.3, a private address: add 10.1.2.3 to the agent's allow_out to allow it",
		},
		{
			"", "gitlab.corp", "10.1.2.3",
			"gitlab.corp resolves to 10.1.2.3, a private address: to allow it add 10.1.2.3 to LAP_EGRESS_ALLOW, " +
				"or to the agent's allow_out, which then must list all hosts that the agent needs",
		},
		{
			"allow x.com", "x.com", "64:ff9b::a9fe:a9fe",
			"x.com resolves to 64:ff9b::a9fe:a9fe, which leads to 169.254.169.254, a link-local address: " +
				"add 169.254.169.254 to the agent's allow_out to allow it",
		},
		{"allow x.com", "x.com", "::1", "x.com resolves to ::1, a loopback address: no rule can allow it"},
		{"allow 0.0.0.0/0", "0x7f.1", "", "127.0.0.1 is a loopback address: add 127.0.0.1 to the agent's allow_out to allow it"},
		{
			"default; server-allow 10.1.2.3", "2002:a01:204::", "",
			"2002:a01:204:: is in no allow list, and EGRESS_DEFAULT_DENY refuses all else: " +
				"no entry can be an IPv6 address, so use a host name and add that to the agent's allow_out",
		},
		{"deny x.com", "x.com", "", "x.com is refused by deny_out x.com: remove that entry from the agent's deny_out to allow it"},
		{"server-deny *.x.com", "a.x.com", "", "a.x.com is refused by LAP_EGRESS_DENY *.x.com: only who runs lap can change that list"},
		{
			"deny 1.2.3.0/24", "x.com", "1.2.3.4",
			"x.com resolves to 1.2.3.4, refused by deny_out 1.2.3.0/24: remove that entry from the agent's deny_out to allow it",
		},
		{"allow x.com", "y.com", "", "y.com matches no entry of the agent's allow_out: add y.com to the agent's allow_out to allow it"},
		{
			"default", "y.com", "",
			"y.com is in no allow list, and EGRESS_DEFAULT_DENY refuses all else: add y.com to the agent's allow_out to allow it",
		},
		{
			"allow *.localhost", "a.localhost", "",
			"a.localhost stands for the machine that lap runs on or its metadata service: add a.localhost to the agent's allow_out to allow it",
		},
	}
	for _, tt := range tests {
		s, to := set(t, tt.set), target(t, tt.host)
		got := s.Host(to)
		if tt.addr != "" {
			if !got.Allowed {
				t.Errorf("{%s} %s: %+v", tt.set, tt.host, got)
			}
			got = s.Address(to, netip.MustParseAddr(tt.addr))
		}
		if diff := cmp.Diff(tt.want, got.Reason); diff != "" {
			t.Errorf("{%s} %s %s: %s", tt.set, tt.host, tt.addr, diff)
		}
	}
}
