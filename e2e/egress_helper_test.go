package e2e

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lap/client"
	"lap/sandbox/vault/ca"
)

// An outside is the world that sandboxes may want to reach: one machine with an address of
// its own, at the loopback interface of this one, that has all names of the tests.
type outside struct {
	addr string
	cert string // file of the certificate that its own are signed with

	mu   sync.Mutex // guards what follows
	seen []visit
	udp  []string
}

// A visit is a request that came to the outside.
type visit struct {
	host   string
	header http.Header
	body   int64
}

var outsides atomic.Int32

// outsideNames are the names that lap finds the outside by.
var outsideNames = []string{"bound.test", "other.test", "refused.test", "floor.test", "a.wild.test", "wild.test", "inside.test"}

// newOutside makes an outside, or skips the test when that takes more than it may.
func newOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{addr: "198.51.100." + strconv.Itoa(20+(os.Getpid()+int(outsides.Add(1)))%200)} // an address for documentation
	if out, err := exec.CommandContext(t.Context(), "ip", "addr", "add", o.addr+"/32", "dev", "lo").CombinedOutput(); err != nil {
		if os.Getenv("LAP_TEST_REQUIRE_ALL") != "" {
			t.Fatalf("ip addr add: %v: %s", err, out)
		}
		t.Skipf("needs root, to give the loopback interface the address %s: %v: %s", o.addr, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "ip", "addr", "del", o.addr+"/32", "dev", "lo").CombinedOutput(); err != nil {
			t.Errorf("ip addr del: %v: %s", err, out)
		}
	})
	o.cert = filepath.Join(t.TempDir(), "ca.crt")
	authority, err := ca.Open(o.cert, filepath.Join(t.TempDir(), "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewUnstartedServer(o)
	secure.Listener = o.listen(t, "443")
	secure.EnableHTTP2 = true
	secure.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.ServerName == "" {
			return authority.Config(o.addr), nil
		}
		return authority.Config(h.ServerName), nil
	}}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := httptest.NewUnstartedServer(o)
	plain.Listener = o.listen(t, "80")
	plain.Start()
	t.Cleanup(plain.Close)
	for _, port := range []string{"1", "53", "67", "123", "443", "5353"} {
		o.listenUDP(t, port)
	}
	return o
}

func (o *outside) listen(t *testing.T, port string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(o.addr, port))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// listenUDP answers whatever comes.
func (o *outside) listenUDP(t *testing.T, port string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", net.JoinHostPort(o.addr, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			o.mu.Lock()
			o.udp = append(o.udp, fmt.Sprintf("port %s got %q", port, buf[:n]))
			o.mu.Unlock()
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}()
}

// ServeHTTP answers with what was asked, or with a redirect to what the query says.
func (o *outside) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	o.mu.Lock()
	o.seen = append(o.seen, visit{r.Host, r.Header, n})
	o.mu.Unlock()
	if to := r.URL.Query().Get("to"); to != "" {
		http.Redirect(w, r, to, http.StatusFound)
		return
	}
	w.Header().Set("X-Echo", r.Header.Get("X-Key"))
	w.Header().Set("Content-Type", "application/json; v="+r.Header.Get("X-Key"))
	_, _ = fmt.Fprintf(w, "host=%s body=%d header=%v", r.Host, n, r.Header)
}

// sent returns the values of a header that a host of the outside was sent.
func (o *outside) sent(host, header string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, v := range o.seen {
		if v.host == host || strings.HasPrefix(v.host, host+":") {
			all = append(all, v.header.Get(header))
		}
	}
	return all
}

// forget forgets all visits.
func (o *outside) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = nil
}

// none fails when a host was visited.
func (o *outside) none(t *testing.T, host string) {
	t.Helper()
	if got := o.sent(host, "User-Agent"); len(got) > 0 {
		t.Errorf("%s was reached %d times", host, len(got))
	}
}

// settings are those of a lap that finds the outside by its names.
func (o *outside) settings(more ...string) []string {
	var pins []string
	for _, name := range outsideNames {
		pins = append(pins, name+"="+o.addr)
	}
	return append([]string{"SSL_CERT_FILE=" + o.cert, "WARM_POOL_SIZE=0", "LAP_RESOLVE=" + strings.Join(pins, ",")}, more...)
}

// invade puts the intruder into a sandbox.
func (s *serving) invade(t *testing.T, sessionID string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "intruder")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./intruder")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the intruder: %v\n%s", err, out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.WriteFile(t.Context(), sessionID, "/intruder", f); err != nil {
		t.Fatal(err)
	}
	s.sh(t, sessionID, "chmod +x /intruder")
}

// intrude runs a group of attacks, each a subtest.
func (s *serving) intrude(t *testing.T, sessionID, group string, args ...string) {
	t.Helper()
	out := s.sh(t, sessionID, "/intruder "+group+" "+strings.Join(args, " "))
	tried := 0
	for line := range strings.SplitSeq(out, "\n") {
		result, what, _ := strings.Cut(line, " ")
		switch result {
		case "held":
			tried++
		case "broken":
			tried++
			t.Errorf("%s: %s", group, what)
		default:
			t.Errorf("%s printed %q", group, line)
		}
	}
	if tried == 0 {
		t.Errorf("%s: nothing was tried", group)
	}
}

// create posts to the API and returns the id of what was made.
func (s *serving) create(t *testing.T, path string, body any) string {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	status, answer := s.rest(t, http.MethodPost, "/managed_agents"+path, string(text))
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &made); err != nil || made.ID == "" {
		t.Fatalf("%s: %d %s", path, status, answer)
	}
	return made.ID
}

// sandbox makes an agent from members of the API and a session of it, and waits for that.
func (s *serving) sandbox(t *testing.T, agent, session map[string]any) (agentID, sessionID string) {
	t.Helper()
	members := map[string]any{"harness_id": "lap", "model": "scripted/echo"}
	maps.Copy(members, agent)
	agentID = s.create(t, "/agents", members)
	s.deleteAfter(t, agentID)
	sessionID = s.create(t, "/agents/"+agentID+"/session", session)
	if _, err := s.AwaitReady(t.Context(), sessionID, func(client.Session) {}); err != nil {
		t.Fatalf("%v\n%s", err, s.talk)
	}
	return agentID, sessionID
}

// patch changes an agent.
func (s *serving) patch(t *testing.T, agentID, body string) {
	t.Helper()
	if status, answer := s.rest(t, http.MethodPatch, "/managed_agents/agents/"+agentID, body); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
}

// A dialled is a connection in the record of a session.
type dialled struct {
	Host    string `json:"host"`
	Port    int    `json:"port"`
	Address string `json:"address"`
	Via     string `json:"via"`
	Rule    string `json:"rule"`
	Refused bool   `json:"refused"`
}

// dialled returns the record of a session.
func (s *serving) dialled(t *testing.T, sessionID string) []dialled {
	t.Helper()
	var all []dialled
	for offset := 0; ; {
		status, text := s.rest(t, http.MethodGet, fmt.Sprintf("/managed_agents/sessions/%s/egress?limit=200&offset=%d", sessionID, offset), "")
		var page struct{ Data []dialled }
		if err := json.Unmarshal([]byte(text), &page); err != nil || status != http.StatusOK {
			t.Fatalf("egress: %d %s", status, text)
		}
		if all = append(all, page.Data...); len(page.Data) == 0 {
			return all
		}
		offset += len(page.Data)
	}
}

// onlyDialled fails when lap has dialled anything but the given addresses for a session.
func (s *serving) onlyDialled(t *testing.T, sessionID string, addrs ...string) {
	t.Helper()
	for _, d := range s.dialled(t, sessionID) {
		if d.Address != "" && !slices.Contains(addrs, d.Address) {
			t.Errorf("%s:%d was dialled at %s by %s", d.Host, d.Port, d.Address, d.Rule)
		}
	}
}

// curl fetches a URL in a sandbox and returns the status and all of the answer.
func (s *serving) curl(t *testing.T, sessionID, args string) string {
	t.Helper()
	return s.sh(t, sessionID, "curl -sS -i --max-time 20 "+args+" 2>&1")
}

// residentKiB is the memory of the server, as the kernel counts it.
func (s *serving) residentKiB(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(s.process.Pid()) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var n int
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// inHex are values in a form in which they are not found.
func inHex(values ...string) []string {
	var all []string
	for _, v := range values {
		all = append(all, hex.EncodeToString([]byte(v)))
	}
	return all
}

// eventuallyIn is eventually for what takes no more than d.
func eventuallyIn(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	begin := time.Now()
	eventually(t, what, ok)
	if took := time.Since(begin); took > d {
		t.Errorf("%s only after %s", what, took)
	}
}
