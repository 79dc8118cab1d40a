package e2e

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"lap/client"
	"lap/sandbox/vault/ca"
)

// realKey is the value of every credential that the far side takes.
const realKey = "real-key-of-the-far-side-4715"

// A farSide is the servers that clients in sandboxes talk with, on loopback under names of
// their own, with certificates of an authority of their own.
type farSide struct {
	*http.ServeMux
	roots    string // file with the certificate of the authority
	secure   *httptest.Server
	plain    *httptest.Server
	open     *httptest.Server // open.clients.test, which no credential is for
	released chan struct{}

	mu   sync.Mutex // guards seen
	seen []string   // credentials, as they came
}

func newFarSide(t *testing.T) *farSide {
	t.Helper()
	dir := t.TempDir()
	f := &farSide{ServeMux: http.NewServeMux(), roots: filepath.Join(dir, "ca.crt"), released: make(chan struct{}, 1)}
	authority, err := ca.Open(f.roots, filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	f.HandleFunc("key.clients.test/echo", f.guarded(echo))
	f.HandleFunc("plain.clients.test/echo", f.guarded(echo))
	f.HandleFunc("key.clients.test/upload", f.guarded(digest))
	f.HandleFunc("key.clients.test/events", f.guarded(f.events))
	f.HandleFunc("key.clients.test/release", f.guarded(f.release))
	f.Handle("key.clients.test/socket", f.guarded(func(w http.ResponseWriter, r *http.Request) {
		websocket.Server{Handler: talk}.ServeHTTP(w, r)
	}))
	f.secure = f.serve(t, authority, f)
	f.plain = httptest.NewServer(f)
	t.Cleanup(f.plain.Close)
	f.open = f.serve(t, authority, http.HandlerFunc(f.openEcho))
	return f
}

// serve starts a server that has a certificate for each name and asks for one.
func (f *farSide) serve(t *testing.T, authority *ca.Authority, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up
	srv.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		conf := authority.Config(h.ServerName)
		conf.ClientAuth = tls.RequestClientCert
		return conf, nil
	}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// settings are what lap serve needs to lead sandboxes to the far side.
func (f *farSide) settings() []string {
	var pins []string
	for server, names := range map[*httptest.Server][]string{
		f.secure: {"key", "git", "npm", "safe"}, f.plain: {"plain", "deb"}, f.open: {"open"},
	} {
		for _, name := range names {
			pins = append(pins, name+".clients.test="+server.Listener.Addr().String())
		}
	}
	return []string{"WARM_POOL_SIZE=0", "LAP_RESOLVE=" + strings.Join(pins, ","), "LAP_EXTRA_CA=" + f.roots}
}

// guarded lets only requests with the real key through. The stub is as wrong as anything.
func (f *farSide) guarded(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key := keyOf(r)
		f.note(key)
		if key != realKey {
			w.Header().Set("WWW-Authenticate", `Basic realm="far"`)
			http.Error(w, "wrong key "+key, http.StatusUnauthorized)
			return
		}
		h(w, r)
	}
}

func (f *farSide) note(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, key)
}

// got reports whether a credential has come.
func (f *farSide) got(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.seen, key)
}

// keyOf is the credential of a request, wherever it is.
func keyOf(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return token
	}
	return r.URL.Query().Get("key")
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Key", keyOf(r))
	fmt.Fprintf(w, "%s %s\n", r.Method, keyOf(r))
}

// digest answers an upload with its hash.
func digest(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	if _, err := io.Copy(sum, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%x %s\n", sum.Sum(nil), keyOf(r))
}

// events sends one event, and another when the client shows that it has read the first.
func (f *farSide) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "data: first %s\n\n", keyOf(r))
	if err := http.NewResponseController(w).Flush(); err != nil {
		return
	}
	select {
	case <-f.released:
		fmt.Fprint(w, "data: second\n\n")
	case <-time.After(10 * time.Second):
		fmt.Fprint(w, "data: the first did not arrive\n\n")
	}
}

func (f *farSide) release(http.ResponseWriter, *http.Request) { f.released <- struct{}{} }

// talk sends a WebSocket's messages back, the key with the first.
func talk(ws *websocket.Conn) {
	defer ws.Close()
	text := "key " + keyOf(ws.Request()) + " "
	for {
		var in string
		if websocket.Message.Receive(ws, &in) != nil || websocket.Message.Send(ws, text+in) != nil {
			return
		}
		text = ""
	}
}

// openEcho is the host that no credential is for.
func (f *farSide) openEcho(w http.ResponseWriter, r *http.Request) {
	f.note("open " + keyOf(r))
	who := "nobody"
	if len(r.TLS.PeerCertificates) > 0 {
		who = fingerprint(r.TLS.PeerCertificates[0].Raw)
	}
	fmt.Fprintf(w, "%s %s %s\n", r.Proto, who, keyOf(r))
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// certificate is the fingerprint of what a server shows who asks for name.
func (f *farSide) certificate(t *testing.T, at *httptest.Server, name string) string {
	t.Helper()
	conf := &tls.Config{ServerName: name, InsecureSkipVerify: true} //nolint:gosec // it is looked at, not trusted
	conn, err := tls.Dial("tcp", at.Listener.Addr().String(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return fingerprint(conn.ConnectionState().PeerCertificates[0].Raw)
}

// hosts puts a server that speaks HTTP behind a name of the far side.
func (f *farSide) hosts(t *testing.T, name, at string) {
	t.Helper()
	to, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	f.HandleFunc(name+"/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // CGI takes no body without a length
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		proxy.ServeHTTP(w, r)
	})
}

// proxy is a proxy such as companies have, by which the far side can be reached.
func (f *farSide) proxy(t *testing.T) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "git.clients.test:443" {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		up, err := net.Dial("tcp", f.secure.Listener.Addr().String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer up.Close()
		down, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer down.Close()
		if _, err := io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return
		}
		go func() { _, _ = io.Copy(up, down) }() // ends with either
		_, _ = io.Copy(down, up)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// A newAgent is an agent with what only the API knows.
type newAgent struct {
	client.NewAgent
	AllowOut     []string            `json:"allow_out,omitempty"`
	EnvVarHosts  map[string][]string `json:"env_var_hosts,omitempty"`
	Requirements string              `json:"requirements,omitempty"`
	Projects     []project           `json:"projects,omitempty"`
}

type project struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	RepoURL  string `json:"repo_url,omitempty"`
	SetupCmd string `json:"setup_cmd,omitempty"`
}

// fullAgent is agent for what only the API knows.
func (s *serving) fullAgent(t *testing.T, in newAgent) (id string) {
	t.Helper()
	in.HarnessID, in.Model = "lap", "scripted/echo"
	id = s.create(t, "/agents", in)
	s.deleteAfter(t, id)
	return id
}

// A box is a sandbox whose clients are tried.
type box struct {
	*serving
	far     *farSide
	session string
	stub    string   // of the key
	lacks   []string // programs that an image of the tests would have
}

// box opens a session of an agent whose KEY is for the far side.
func (s *serving) box(t *testing.T, far *farSide, in newAgent) *box {
	t.Helper()
	in.EnvVars = map[string]string{"KEY": realKey, "GITHUB_TOKEN": realKey}
	in.EnvVarHosts = map[string][]string{"KEY": {"key.clients.test", "plain.clients.test", "npm.clients.test", "safe.clients.test"}}
	in.AllowOut = []string{"*.clients.test"}
	b := &box{serving: s, far: far, session: s.session(t, s.fullAgent(t, in), client.NewSession{}).ID}
	b.stub = b.sh(t, b.session, "echo $KEY")
	if b.stub == "" || b.stub == realKey {
		t.Fatalf("KEY = %q in the sandbox", b.stub)
	}
	if b.on.engine == nil {
		b.lacks = strings.Fields(b.sh(t, b.session, "for p in curl git wget perl openssl; do command -v $p >/dev/null || echo $p; done"))
	}
	return b
}

// A clientTest is a command in a sandbox and what it prints. STUB stands for the stub.
type clientTest struct{ name, command, want string }

// try runs clients one after the other.
func (b *box) try(t *testing.T, tests []clientTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range b.lacks {
				if strings.Contains(tt.command, name+" ") {
					t.Skipf("needs %s, which this machine has not", name)
				}
			}
			got := b.sh(t, b.session, tt.command)
			if want := strings.ReplaceAll(tt.want, "STUB", b.stub); got != want {
				t.Errorf("%s\nprinted %q,\nwant    %q", tt.command, got, want)
			}
			if strings.Contains(got, realKey) {
				t.Error("the real key is in the answer")
			}
		})
	}
}

// put writes a file into the sandbox.
func (b *box) put(t *testing.T, path, text string) {
	t.Helper()
	if err := b.WriteFile(t.Context(), b.session, path, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

// needs skips the test when a program is not on this machine. With LAP_TEST_REQUIRE_ALL
// set that is a failure.
func needs(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("LAP_TEST_REQUIRE_ALL") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
}
