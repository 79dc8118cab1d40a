package e2e

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Real values that no sandbox may ever see.
const (
	boundReal   = "real-bound-value-55aa55aa-1"
	wildReal    = "real-wild-value-55aa55aa-2"
	unboundReal = "real-unbound-value-55aa55aa-3"
	ownReal     = "real-own-value-55aa55aa-4"
	strangeReal = "real-strange-value-55aa55aa-5"
)

// attackedAgent may go to all hosts of the outside but some.
func attackedAgent(o *outside) map[string]any {
	return map[string]any{
		"allow_out":     []string{"*.test", o.addr},
		"env_vars":      map[string]string{"BOUND_KEY": boundReal, "WILD_KEY": wildReal, "UNBOUND_KEY": unboundReal},
		"env_var_hosts": map[string][]string{"BOUND_KEY": {"Bound.TEST."}, "WILD_KEY": {"*.wild.test"}},
		"deny_out":      []string{"refused.test"},
	}
}

var attackedSession = map[string]any{
	"env_vars": map[string]string{"OWN_KEY": ownReal}, "env_var_hosts": map[string][]string{"OWN_KEY": {"bound.test"}},
}

// A sandbox is attacked from inside, by root with all that an agent may do.
func TestEgressAttacks(t *testing.T) { onEach(t, testEgressAttacks) }

func testEgressAttacks(t *testing.T, on runtime) {
	o := newOutside(t)
	s := on.serve(t, options{args: []string{"--listen", o.addr + ":0"}, env: o.settings("LAP_EGRESS_DENY=floor.test,203.0.113.0/24")})
	agentID, id := s.sandbox(t, attackedAgent(o), attackedSession)
	s.needs(t, id, "curl")
	s.invade(t, id)
	freeAgent, free := s.sandbox(t, map[string]any{"deny_out": []string{"refused.test"}, "env_vars": map[string]string{"UNBOUND_KEY": unboundReal}}, map[string]any{}) // it may go anywhere else
	s.invade(t, free)

	t.Run("packets", func(t *testing.T) {
		s.intrude(t, id, "packets", o.addr)
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.udp) > 0 {
			t.Errorf("datagrams came out: %q", o.udp)
		}
	})
	t.Run("bystander", func(t *testing.T) { // else nothing would be proved by what does not come
		if !s.reaches(t, id, "other.test") || !s.reaches(t, free, o.addr) {
			t.Error("hosts that are allowed cannot be reached")
		}
	})
	t.Run("inner addresses", func(t *testing.T) {
		for _, id := range []string{id, free} {
			s.intrude(t, id, "addresses", innerAddresses()...)
			s.onlyDialled(t, id, o.addr)
			for _, d := range s.dialled(t, id) {
				if d.Address == "" && !d.Refused {
					t.Errorf("%s:%d was not refused", d.Host, d.Port)
				}
			}
		}
	})
	t.Run("lap's own port", func(t *testing.T) {
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
		for _, id := range []string{id, free} {
			s.intrude(t, id, "addresses", ownPorts(t, port)...)
			s.onlyDialled(t, id, o.addr)
		}
	})
	t.Run("guest", func(t *testing.T) { s.intrude(t, id, "guest") })
	t.Run("secrets", func(t *testing.T) {
		s.intrude(t, id, "secrets", inHex(boundReal, wildReal, unboundReal, ownReal, masterKey)...)
		stub := s.sh(t, id, "echo $BOUND_KEY") // which is there to be found
		if got := s.sh(t, id, "/intruder secrets "+inHex(stub)[0]); strings.Count(got, "broken ") < 3 {
			t.Errorf("the search for secrets finds no stub: %s", got)
		}
	})
	t.Run("credentials", func(t *testing.T) { credentialsGoHome(t, s, o, id) })
	t.Run("unbound credential", func(t *testing.T) {
		o.forget()
		for _, url := range []string{"http://other.test/", "-k https://other.test/"} {
			s.curl(t, free, url+` -H "X-Key: $UNBOUND_KEY"`)
		}
		if got := o.sent("other.test", "X-Key"); len(got) != 2 || strings.Contains(fmt.Sprint(got), "real-") {
			t.Errorf("other.test got %q", got)
		}
	})
	t.Run("HTTP", func(t *testing.T) {
		o.forget()
		s.intrude(t, id, "http")
		o.none(t, "refused.test")
		if got := o.sent("other.test", "X-Key"); strings.Contains(fmt.Sprint(got), boundReal) {
			t.Error("the credential went to another host")
		}
	})
	t.Run("redirects", func(t *testing.T) { redirectsAreJudged(t, s, o, id) })
	t.Run("stolen stub", func(t *testing.T) { stolenStubs(t, s, o, id) })
	t.Run("rules change", func(t *testing.T) {
		rulesChange(t, s, o, agentID, id)
		defaultDeny(t, s, o, freeAgent, free)
	})
	t.Run("flood", func(t *testing.T) {
		s.intrude(t, id, "flood", "other.test:80")
		if kib := s.residentKiB(t); kib > 400<<10 {
			t.Errorf("lap has grown to %d MiB", kib>>10)
		}
	})
	t.Run("upload", func(t *testing.T) { largeUpload(t, s, o, id) })
	t.Run("pipe", func(t *testing.T) {
		s.intrude(t, id, "pipe", inHex(boundReal, wildReal, unboundReal, ownReal)...)
		if list := s.dialled(t, id); on.engine != nil && !slices.ContainsFunc(list, func(d dialled) bool { return d.Host == "127.0.0.1" && d.Port == 22 && d.Via == "socks" && d.Refused }) {
			t.Errorf("the forged request was not judged: %+v", list)
		}
		if got := s.curl(t, id, "http://other.test/"); !strings.Contains(got, "host=other.test") {
			t.Errorf("afterwards: %s", got)
		}
		s.onlyDialled(t, id, o.addr)
	})
	t.Run("restart", func(t *testing.T) {
		s.stop(t, syscall.SIGKILL)
		again := on.serve(t, options{dir: s.dir, env: o.settings("LAP_EGRESS_DENY=floor.test,203.0.113.0/24")})
		again.deleteAfter(t, agentID)
		again.deleteAfter(t, freeAgent)
		o.forget()
		again.curl(t, id, `https://bound.test/ -H "X-Key: $OWN_KEY $BOUND_KEY"`)
		if got := o.sent("bound.test", "X-Key"); len(got) != 1 || got[0] != ownReal+" "+boundReal {
			t.Errorf("after a restart the host got %q", got)
		}
	})
}

// innerAddresses are those of this machine and its networks, in many notations.
func innerAddresses() []string {
	var all []string
	for _, host := range []string{
		"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST.", "a.localhost",
		"host.docker.internal", "metadata.google.internal", "metadata", "169.254.169.254", "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376",
		"169.254.43518", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]", "[fe80::1]", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		"10.0.0.1", "172.17.0.1", "192.168.0.1", "198.18.200.200", "255.255.255.255", "224.0.0.1",
		"203.0.113.7", "floor.test", "refused.test", "REFUSED.test.",
	} {
		all = append(all, host+":80")
	}
	return append(all, "172.17.0.1:2375", "127.0.0.1:2375", "127.0.0.1:22", "169.254.169.254:443", "refused.test:443")
}

// ownPorts are all ways to write where this machine listens.
func ownPorts(t *testing.T, port string) []string {
	t.Helper()
	hosts := []string{"localhost", "127.0.0.1", "127.0.0.2", "::1", "0.0.0.0", "127.1", "::ffff:127.0.0.1", "bound.test"}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			hosts = append(hosts, n.IP.String())
		}
	}
	for i := range hosts {
		hosts[i] = net.JoinHostPort(hosts[i], port)
	}
	return hosts
}

// credentialsGoHome checks where the stubs of a sandbox are replaced, and that nothing of it shows.
func credentialsGoHome(t *testing.T, s *serving, o *outside, id string) {
	t.Helper()
	for _, tt := range []struct {
		url, host, stub, want string
	}{
		{"https://bound.test/", "bound.test", "BOUND_KEY", boundReal},
		{"https://BOUND.test./", "bound.test", "BOUND_KEY", boundReal},
		{"http://bound.test/", "bound.test", "BOUND_KEY", boundReal},
		{"--http1.1 https://bound.test/", "bound.test", "OWN_KEY", ownReal},
		{"--noproxy '*' https://bound.test/", "bound.test", "BOUND_KEY", boundReal}, // captured
		{"-k --noproxy '*' -x socks5h://127.0.0.1:3128 https://bound.test/", "bound.test", "BOUND_KEY", boundReal},
		{"https://a.wild.test/", "a.wild.test", "WILD_KEY", wildReal},
		{"https://wild.test/", "wild.test", "WILD_KEY", wildReal},
		{"https://a.wild.test/", "a.wild.test", "BOUND_KEY", ""},
		{"https://bound.test/", "bound.test", "WILD_KEY", ""},
		{"-k https://other.test/", "other.test", "BOUND_KEY", ""},
		{"http://other.test/", "other.test", "BOUND_KEY", ""},
		{"http://" + o.addr + "/", o.addr, "BOUND_KEY", ""},
		{"-k --connect-to bound.test:443:" + o.addr + ":443 https://bound.test/", "bound.test", "BOUND_KEY", ""},
		{"-k -H 'Host: bound.test' http://other.test/", "other.test", "BOUND_KEY", ""},
	} {
		o.forget()
		answer := s.curl(t, id, tt.url+` -H "X-Key: $`+tt.stub+`"`)
		for _, got := range append(o.sent(tt.host, "X-Key"), o.sent("bound.test", "X-Key")...) {
			if tt.want == "" && strings.Contains(got, "real-") || tt.want != "" && got != tt.want {
				t.Errorf("%s: %s got %q", tt.url, tt.host, got)
			}
		}
		if tt.want != "" && len(o.sent(tt.host, "X-Key"))+len(o.sent(tt.host+".", "X-Key"))+len(o.sent("BOUND.test.", "X-Key")) == 0 {
			t.Errorf("%s: nothing came: %s", tt.url, answer)
		}
		if strings.Contains(answer, "real-") {
			t.Errorf("%s: the sandbox got the value: %s", tt.url, answer)
		}
	}
}

func redirectsAreJudged(t *testing.T, s *serving, o *outside, id string) {
	t.Helper()
	o.forget()
	for _, to := range []string{"http://refused.test/", "https://refused.test/", "http://169.254.169.254/latest", "http://0xa9fea9fe/", "http://localhost/", "http://[::1]/", "//127.0.0.1/"} {
		answer := s.curl(t, id, "-k -L 'http://other.test/?to="+to+"'")
		if strings.Contains(answer, "host=") || !strings.Contains(answer, "302") {
			t.Errorf("to %s: %s", to, answer)
		}
	}
	o.none(t, "refused.test")
	s.curl(t, id, `-k -L --location-trusted 'https://bound.test/?to=https://other.test/' -H "X-Key: $BOUND_KEY"`)
	if got := fmt.Sprint(o.sent("other.test", "X-Key")); strings.Contains(got, "real-") {
		t.Errorf("other.test got %s", got)
	}
}

// stolenStubs are of no use in another sandbox, nor is what that keeps for lap.
func stolenStubs(t *testing.T, s *serving, o *outside, id string) {
	t.Helper()
	stub := s.sh(t, id, "echo $BOUND_KEY")
	kept := s.sh(t, id, `grep -o '"sealed":"[^"]*"' /var/lib/lap/boot.json | cut -d'"' -f4`)
	if !strings.HasPrefix(stub, "stub_") || len(kept) < 20 {
		t.Fatalf("stub %q, kept %q", stub, kept)
	}
	thief := map[string]any{
		"allow_out": []string{"bound.test"},
		"env_vars":  map[string]string{"BOUND_KEY": strangeReal}, "env_var_hosts": map[string][]string{"BOUND_KEY": {"bound.test"}},
	}
	_, other := s.sandbox(t, thief, map[string]any{"env_vars": map[string]string{"STOLEN": kept}, "env_plain": []string{"STOLEN"}})
	o.forget()
	s.curl(t, other, `https://bound.test/ -H 'X-Key: `+stub+`' -H "X-Sealed: $STOLEN"`)
	if got := o.sent("bound.test", "X-Key"); len(got) != 1 || got[0] != stub {
		t.Errorf("with a stolen stub the host got %q", got)
	}
	if own := s.sh(t, other, "echo $BOUND_KEY"); own == stub || !strings.HasPrefix(own, "stub_") {
		t.Errorf("the stub of another session is %q", own)
	}
	if got := s.sh(t, other, `curl -sS -m 5 -o /dev/null -w '%{http_code}' http://127.0.0.1:4001/api/v1/managed_agents/sessions/`+id); got == "200" {
		t.Error("a sandbox can read another session")
	}
	if got := s.sh(t, other, `curl -sS -m 5 -o /dev/null -w '%{http_code}' -X PATCH -d '{"deny_out":[]}' http://127.0.0.1:4001/api/v1/managed_agents/agents/$AGENT_ID -H "Authorization: Bearer $HARNESS_PROGRESS_TOKEN"`); got != "401" {
		t.Errorf("a sandbox that changes its own rules is answered %s", got)
	}
	if got := s.sh(t, other, `curl -sS -m 5 -o /dev/null -w '%{http_code}' -d '{"phase":"failed"}' http://127.0.0.1:4001/api/v1/managed_agents/sessions/`+id+`/phase -H "Authorization: Bearer $HARNESS_PROGRESS_TOKEN"`); got[:1] == "2" {
		t.Errorf("a sandbox that reports for another is answered %s", got)
	}
}

// rulesChange changes the rules of a sandbox that runs, with a connection that is open.
func rulesChange(t *testing.T, s *serving, o *outside, agentID, id string) {
	t.Helper()
	all := fmt.Sprintf(`"allow_out":["*.test",%q]`, o.addr)
	s.ends(t, agentID, id, "other.test:443", `{"deny_out":["refused.test","*.OTHER.test."]}`)
	if s.reaches(t, id, "other.test") {
		t.Error("deny_out does not hold")
	}
	s.patch(t, agentID, `{"deny_out":["refused.test"]}`)
	s.ends(t, agentID, id, "other.test:80", `{"allow_out":["*.wild.test","floor.test","bound.test"]}`)
	if s.reaches(t, id, "other.test") || s.reaches(t, id, "floor.test") || !s.reaches(t, id, "a.wild.test") || !s.reaches(t, id, "bound.test") {
		t.Error("allow_out does not hold, or the floor does not")
	}
	s.patch(t, agentID, `{`+all+`,"env_var_hosts":{"BOUND_KEY":["other.test"]}}`)
	o.forget()
	s.curl(t, id, `https://bound.test/ -H "X-Key: $BOUND_KEY"`)
	s.curl(t, id, `https://other.test/ -H "X-Key: $BOUND_KEY"`)
	if got := fmt.Sprint(o.sent("bound.test", "X-Key"), o.sent("other.test", "X-Key")); strings.Count(got, "stub_") != 1 || !strings.Contains(got, "["+boundReal+"]") {
		t.Errorf("after env_var_hosts changed, the hosts got %s", got)
	}
	s.patch(t, agentID, `{"env_var_hosts":{"BOUND_KEY":["bound.test"],"WILD_KEY":["*.wild.test"]}}`)
}

// defaultDeny refuses what a sandbox may go to that has no list.
func defaultDeny(t *testing.T, s *serving, o *outside, agentID, id string) {
	t.Helper()
	s.ends(t, agentID, id, net.JoinHostPort(o.addr, "80"), `{"egress_default_deny":true}`)
	if s.reaches(t, id, "other.test") {
		t.Error("egress_default_deny does not hold")
	}
	s.patch(t, agentID, `{"egress_default_deny":null}`)
	if !s.reaches(t, id, "other.test") {
		t.Error("egress_default_deny does not end")
	}
}

func (s *serving) reaches(t *testing.T, id, host string) bool {
	t.Helper()
	return strings.Contains(s.curl(t, id, "http://"+host+"/"), "host="+host)
}

// ends changes an agent while a connection of a sandbox is open, which must end by it.
func (s *serving) ends(t *testing.T, agentID, id, target, change string) {
	t.Helper()
	opened := s.sh(t, id, ": >/tmp/held; /intruder hold "+target+" >/tmp/held 2>&1 & until grep -q . /tmp/held; do sleep 0.05; done; cat /tmp/held")
	if opened != "open" {
		t.Fatalf("the connection to %s is %q", target, opened)
	}
	s.patch(t, agentID, change)
	eventuallyIn(t, 5*time.Second, "the connection to "+target+" ends", func() bool { return strings.Contains(s.sh(t, id, "cat /tmp/held"), "ended") })
}

// largeUpload sends 1 GiB, or LAP_TEST_UPLOAD_MIB, to a host, by a connection that is read.
func largeUpload(t *testing.T, s *serving, o *outside, id string) {
	t.Helper()
	mib := 1024
	if text := os.Getenv("LAP_TEST_UPLOAD_MIB"); text != "" {
		var err error
		if mib, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	before, most := s.residentKiB(t), 0
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-tick.C:
				most = max(most, s.residentKiB(t))
			case <-done:
				return
			}
		}
	}()
	o.forget()
	got := s.sh(t, id, fmt.Sprintf("head -c %dM /dev/zero | curl -sS -X PUT -T - -H \"X-Key: $BOUND_KEY\" http://bound.test/upload", mib))
	close(done)
	<-watched
	if !strings.Contains(got, fmt.Sprintf("body=%d ", mib<<20)) {
		t.Errorf("the host answered %s", got)
	}
	if grown := most - before; grown > 96<<10 {
		t.Errorf("lap grew by %d MiB", grown>>10)
	}
}

// The server's own switches: nothing is reached that is not allowed, and credentials that
// are bound to no host may go anywhere when who runs lap says so. What an agent sets in the
// environment of its programs changes none of that.
func TestEgressSwitches(t *testing.T) { onEach(t, testEgressSwitches) }

func testEgressSwitches(t *testing.T, on runtime) {
	o := newOutside(t)
	s := on.serve(t, options{env: o.settings("EGRESS_DEFAULT_DENY=true", "LAP_UNBOUND=anywhere", "LAP_EGRESS_ALLOW=other.test,inside.test", "CONTAINER_ENV_SERVER_TOKEN="+strangeReal)})
	agent, id := s.sandbox(t, map[string]any{"env_vars": map[string]string{
		"UNBOUND_KEY": unboundReal, "HTTPS_PROXY": "http://192.0.2.1:1", "http_proxy": "http://192.0.2.1:1", "NO_PROXY": "*", "NODE_OPTIONS": "--require /tmp/x.js",
		"LD_PRELOAD": "/tmp/x.so", "LAP_BASE_URL": "http://192.0.2.1", "MASTER_KEY": "mine", "SSL_CERT_FILE": "/dev/null", "GODEBUG": "netdns=cgo",
	}, "env_plain": []string{"HTTPS_PROXY", "http_proxy", "NO_PROXY", "NODE_OPTIONS", "LD_PRELOAD", "LAP_BASE_URL", "MASTER_KEY", "SSL_CERT_FILE", "GODEBUG"}}, map[string]any{})
	s.needs(t, id, "curl")
	for _, target := range []string{"http://bound.test/", "-k https://bound.test/", "http://" + o.addr + "/", "-k --noproxy '*' https://refused.test/", "--noproxy '*' http://bound.test/"} {
		if got := s.curl(t, id, target); strings.Contains(got, "host=") {
			t.Errorf("%s: %s", target, got)
		}
	}
	send := func(host string) (sent []string) {
		o.forget()
		answer := s.curl(t, id, `--noproxy '*' -k https://`+host+`/ -H "X-Key: $UNBOUND_KEY $SERVER_TOKEN"`)
		if strings.Contains(answer, "real-") {
			t.Errorf("the sandbox got the value: %s", answer)
		}
		return o.sent(host, "X-Key")
	}
	if got := send("other.test"); len(got) != 1 || strings.Contains(got[0], "real-") { // where nothing may leave unnamed
		t.Errorf("other.test got %q", got)
	}
	s.onlyDialled(t, id, o.addr)
	s.patch(t, agent, `{"egress_default_deny": false}`)
	for _, host := range []string{"other.test", "inside.test"} {
		if got := send(host); len(got) != 1 || got[0] != unboundReal+" "+strangeReal {
			t.Errorf("%s got %q", host, got)
		}
	}
}
