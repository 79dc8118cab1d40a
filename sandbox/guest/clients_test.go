//go:build linux

package guest_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/sandbox/guest"
	"lap/sandbox/vault"
	"lap/sandbox/vault/ca"
	"lap/sandbox/vault/rule"
	"lap/sandbox/vault/swap"
)

const (
	realKey = "real-key-of-the-far-side-4716"
	stubKey = "stub_key_0123abcd"
	farHost = "far.clients.test"
)

// A way is the way out of a sandbox, from the proxy that programs of this machine are
// pointed to up to a server that takes the real key only.
type way struct {
	*http.ServeMux
	proxy string   // address
	root  string   // of a file system that trusts lap's authority
	env   []string // for a program

	mu   sync.Mutex // guards keys
	keys []string   // that came
}

func newWay(t *testing.T) *way {
	t.Helper()
	mine, far := newAuthority(t), newAuthority(t)
	w := &way{ServeMux: http.NewServeMux(), root: t.TempDir()}
	w.HandleFunc("/echo", func(rw http.ResponseWriter, r *http.Request) { fmt.Fprintf(rw, "got %s\n", keyOf(r)) })
	server := httptest.NewUnstartedServer(w.guarded())
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up
	server.TLS = far.Config(farHost)
	server.StartTLS()
	t.Cleanup(server.Close)

	entry, err := rule.ParseEntry(farHost)
	if err != nil {
		t.Fatal(err)
	}
	policy := vault.Policy{Credentials: []vault.Credential{{
		Credential: swap.Credential{Name: "KEY", Stub: stubKey, Value: realKey}, Hosts: []rule.Entry{entry},
	}}}
	network := vault.NewNetwork()
	network.Pins = map[string]netip.AddrPort{farHost: netip.MustParseAddrPort(server.Listener.Addr().String())}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(far.Certificate()))
	v := vault.New(vault.Config{
		CA: mine, Network: network, Roots: roots, Policy: func(context.Context, string) (vault.Policy, error) { return policy, nil },
		Connected: func(vault.Connection) {}, Requested: func(vault.Request) {}, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = v.Run(ctx) }) // until the end
	t.Cleanup(func() { cancel(); running.Wait() })
	w.proxy = guest.ProxyTo(t, func(conn net.Conn) { v.Serve(ctx, conn, "s1") })
	w.trust(t, mine.Certificate())
	return w
}

func newAuthority(t *testing.T) *ca.Authority {
	t.Helper()
	dir := t.TempDir()
	a, err := ca.Open(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// trust makes a file system and an environment as a boot does. Its JVM's truststore is
// that of this machine.
func (w *way) trust(t *testing.T, certificate string) {
	t.Helper()
	const store = "/etc/ssl/certs/java"
	if text, err := os.ReadFile(store + "/cacerts"); err == nil {
		if err := os.MkdirAll(w.root+store, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(w.root+store+"/cacerts", text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{}
	if err := guest.TrustIn(w.root, certificate, env, io.Discard); err != nil {
		t.Fatal(err)
	}
	w.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LANG=C.UTF-8", "KEY=" + stubKey}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		w.env = append(w.env, name+"=http://"+w.proxy, strings.ToLower(name)+"=http://"+w.proxy)
	}
	for name, value := range env {
		value = strings.ReplaceAll(strings.ReplaceAll(value, "/var/lib/lap", w.root+"/var/lib/lap"), "/etc/ssl", w.root+"/etc/ssl")
		w.env = append(w.env, name+"="+value)
	}
}

// guarded lets only requests with the real key through. The stub is as wrong as anything.
func (w *way) guarded() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		key := keyOf(r)
		w.mu.Lock()
		w.keys = append(w.keys, key)
		w.mu.Unlock()
		if key != realKey {
			rw.Header().Set("WWW-Authenticate", `Basic realm="far"`)
			http.Error(rw, "wrong key "+key, http.StatusUnauthorized)
			return
		}
		w.ServeHTTP(rw, r)
	})
}

func keyOf(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	if key := r.Header.Get("Authorization"); key != "" {
		return strings.TrimPrefix(key, "Bearer ")
	}
	return r.URL.Query().Get("key")
}

// run runs a program of this machine and returns what it prints. The test is skipped when
// there is none.
func (w *way) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Dir = w.env, t.TempDir()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, out, stderr.String())
	}
	if strings.Contains(string(out)+stderr.String(), realKey) {
		t.Errorf("%s has seen the real key", name)
	}
	return string(out)
}

const (
	farURL     = "https://" + farHost + "/echo"
	pythonURL  = `import os, urllib.request as u; print(u.urlopen(u.Request("` + farURL + `", headers={"Authorization": "Bearer " + os.environ["KEY"]})).read().decode())`
	pythonKeep = `import os, requests
s = requests.Session()
for _ in range(3): print(s.post("` + farURL + `", auth=("me", os.environ["KEY"]), data="x").text)`
	javaClient = `import java.net.*; import java.net.http.*;
class Client {
	public static void main(String[] args) throws Exception {
		var request = HttpRequest.newBuilder(URI.create("` + farURL + `")).header("Authorization", "Bearer " + System.getenv("KEY")).build();
		var client = HttpClient.newBuilder().proxy(ProxySelector.getDefault()).build();
		var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
		System.out.println(answer.version() + " " + answer.body());
		var old = new URL("` + farURL + `").openConnection();
		old.setRequestProperty("Authorization", "Bearer " + System.getenv("KEY"));
		System.out.println(new String(old.getInputStream().readAllBytes()));
	}
}`
)

// TestClientsOfThisMachine lets programs that the images of other tests do not have reach
// a host by name, with the certificate verified. What they show must be the stub again.
func TestClientsOfThisMachine(t *testing.T) {
	t.Parallel()
	w := newWay(t)
	const want = "got " + stubKey
	check := func(t *testing.T, got string, times int) {
		t.Helper()
		if strings.Count(got, want) != times {
			t.Errorf("printed %q, want %q %d times", got, want, times)
		}
	}
	t.Run("curl", func(t *testing.T) { check(t, w.run(t, "curl", "-sS", "-u", "me:"+stubKey, farURL), 1) })
	t.Run("python urllib", func(t *testing.T) { check(t, w.run(t, "python3", "-c", pythonURL), 1) })
	t.Run("python requests", func(t *testing.T) {
		if exec.CommandContext(t.Context(), "python3", "-c", "import requests").Run() != nil {
			t.Skip("there is no python3 with requests here")
		}
		check(t, w.run(t, "python3", "-c", pythonKeep), 3)
	})
	t.Run("java", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "Client.java")
		if err := os.WriteFile(file, []byte(javaClient), 0o600); err != nil {
			t.Fatal(err)
		}
		host, port, err := net.SplitHostPort(w.proxy)
		if err != nil {
			t.Fatal(err)
		}
		got := w.run(t, "java", "-XX:TieredStopAtLevel=1", "-Dhttps.proxyHost="+host, "-Dhttps.proxyPort="+port, file)
		check(t, got, 2)
		if !strings.HasPrefix(got, "HTTP_2 ") {
			t.Errorf("printed %q, want HTTP/2", got)
		}
	})
	t.Run("cargo", w.cargo)
	t.Run("chromium", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("only root can put a policy in the place of this machine's")
		}
		// The policy is in a name space of the browser's own.
		const browse = `mkdir -p /etc/chromium/policies && mount --bind "$0/etc/chromium/policies" /etc/chromium/policies && exec "$@"`
		if _, err := exec.LookPath("chromium"); err != nil {
			t.Skip(err)
		}
		check(t, w.run(t, "unshare", "-m", "sh", "-c", browse, w.root, "chromium", "--headless", "--no-sandbox", "--disable-gpu",
			"--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--proxy-server=http://"+w.proxy,
			"--user-data-dir="+t.TempDir(), "--dump-dom", farURL+"?key="+stubKey), 1)
	})
	t.Run("no stub has come through", func(t *testing.T) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if slices.Contains(w.keys, stubKey) {
			t.Error("the stub has reached the host")
		}
	})
}

// cargo asks a private registry.
func (w *way) cargo(t *testing.T) {
	w.HandleFunc("/index/config.json", func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(rw, `{"dl": "https://%[1]s/dl", "api": "https://%[1]s", "auth-required": true}`, farHost)
	})
	w.HandleFunc("/api/v1/crates", func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, `{"crates": [{"name": "probe", "max_version": "1.0.0", "description": "got %s"}], "meta": {"total": 1}}`, keyOf(r))
	})
	if _, err := exec.LookPath("cargo"); err != nil {
		t.Skip(err)
	}
	before := w.env
	defer func() { w.env = before }()
	home := t.TempDir()
	w.env = append(w.env, "CARGO_HOME="+home, "CARGO_REGISTRIES_FAR_INDEX=sparse+https://"+farHost+"/index/",
		"CARGO_REGISTRIES_FAR_TOKEN="+stubKey, "CARGO_REGISTRY_GLOBAL_CREDENTIAL_PROVIDERS=cargo:token", "RUSTUP_HOME="+rustupHome())
	if got := w.run(t, "cargo", "search", "--registry", "far", "probe"); !strings.Contains(got, "got "+stubKey) {
		t.Errorf("printed %q", got)
	}
}

// rustupHome is where the toolchains of this machine are.
func rustupHome() string {
	if dir := os.Getenv("RUSTUP_HOME"); dir != "" {
		return dir
	}
	dir, _ := os.UserHomeDir() // without one there are none
	return filepath.Join(dir, ".rustup")
}

// TestRequirementsFromPrivateIndex installs with the pip of this machine what a boot asks
// for.
func TestRequirementsFromPrivateIndex(t *testing.T) {
	t.Parallel()
	if exec.CommandContext(t.Context(), "python3", "-m", "pip", "--version").Run() != nil {
		t.Skip("there is no python3 with pip here")
	}
	w := newWay(t)
	dir, target := t.TempDir(), t.TempDir()
	wheel(t, dir, "lap_probe")
	w.HandleFunc("/simple/lap-probe/", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		fmt.Fprint(rw, `<a href="/files/lap_probe-1.0-py3-none-any.whl">lap_probe-1.0-py3-none-any.whl</a>`)
	})
	w.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(dir))))
	f := start(t, nil)
	b := f.newBoot()
	for _, entry := range w.env {
		name, value, _ := strings.Cut(entry, "=")
		b.Env[name] = value
	}
	b.Env["PIP_INDEX_URL"], b.Env["PIP_TARGET"], b.Env["PIP_NO_CACHE_DIR"] = "https://me:"+stubKey+"@"+farHost+"/simple", target, "1"
	b.Env["PIP_PROXY"] = "http://" + w.proxy // a boot sets the others
	b.Requirements = "lap-probe==1.0"
	events := f.boot(b)
	if last := events[len(events)-1]; !last.Done {
		t.Fatalf("boot: %+v\n%s", events, f.logs())
	}
	if _, err := os.Stat(filepath.Join(target, "lap_probe.py")); err != nil {
		t.Error(err)
	}
}
