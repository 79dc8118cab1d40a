package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lap/client"
	"lap/sandbox/vault/ca"
)

// direct runs a command that knows no proxy.
const direct = "env -u http_proxy -u https_proxy -u all_proxy -u HTTP_PROXY -u HTTPS_PROXY -u ALL_PROXY -u NODE_USE_ENV_PROXY "

// TestClients lets programs in sandboxes reach hosts by name, with the certificate
// verified. The far side takes the real key only and sends it back; what a program shows
// must be the stub again.
func TestClients(t *testing.T) { onEach(t, testClients) }

func testClients(t *testing.T, on runtime) {
	far := newFarSide(t)
	far.hosts(t, "git.clients.test", hostedRepository(t, realKey))
	s := on.serve(t, options{env: append(far.settings(), "HTTPS_PROXY="+far.proxy(t), "GIT_SSL_CAINFO="+far.roots)})
	t.Run("scm", func(t *testing.T) {
		b := s.box(t, far, newAgent{NewAgent: client.NewAgent{RepoURL: "https://git.clients.test/private/r.git"}})
		b.try(t, curlTests)
		t.Run("upload", b.upload)
		b.try(t, scmTests)
		t.Run("git", b.git)
		t.Run("go", b.goProgram)
		t.Run("pass through", b.passThrough)
	})
	t.Run("node", func(t *testing.T) {
		b := s.box(t, far, newAgent{NewAgent: client.NewAgent{HarnessImage: "node:24-bookworm-slim"}})
		t.Run("programs", b.nodePrograms)
		t.Run("npm", b.npm)
	})
	t.Run("debian", func(t *testing.T) {
		b := s.box(t, far, newAgent{NewAgent: client.NewAgent{HarnessImage: "debian:bookworm-slim"}})
		t.Run("apt", b.apt)
		b.try(t, opensslTests)
	})
}

const (
	curl     = "curl -sS --max-time 20 "
	bearer   = `-H "Authorization: Bearer $KEY" `
	echoURL  = "https://key.clients.test/echo"
	askPlain = `"GET /echo HTTP/1.1\r\nHost: key.clients.test\r\nAuthorization: Bearer $KEY\r\nConnection: close\r\n\r\n"`
)

var curlTests = []clientTest{
	{"curl", curl + bearer + "--http1.1 " + echoURL, "GET STUB"},
	{"curl captured", curl + bearer + "--noproxy '*' --http1.1 " + echoURL, "GET STUB"},
	{"curl by SOCKS", curl + bearer + "--proxy socks5h://127.0.0.1:3128 " + echoURL, "GET STUB"},
	{"curl HTTP/2", curl + bearer + "--http2 -w '%{http_version} %header{x-key}' " + echoURL, "GET STUB\n2 STUB"},
	{"curl HTTP/2 captured", curl + bearer + "--noproxy '*' --http2 -w '%{http_version} %header{x-key}' " + echoURL, "GET STUB\n2 STUB"},
	{"curl Basic", curl + `-u "me:$KEY" ` + echoURL, "GET STUB"},
	{"curl in the address", curl + `"https://me:$KEY@key.clients.test/echo"`, "GET STUB"},
	{"curl query", curl + `"` + echoURL + `?key=$KEY"`, "GET STUB"},
	{"curl compressed", curl + bearer + "--compressed " + echoURL, "GET STUB"},
	{"curl without a key", curl + "-o /dev/null -w '%{http_code}' " + echoURL, "401"},
	{"curl plain HTTP", curl + bearer + "http://plain.clients.test/echo", "GET STUB"},
	{"curl plain HTTP captured", curl + bearer + "--noproxy '*' http://plain.clients.test/echo", "GET STUB"},
	{
		"events", curl + "-N " + bearer + `https://key.clients.test/events | while read -r line; do case $line in *first*) ` +
			curl + bearer + `https://key.clients.test/release;; esac; echo "$line"; done`, "data: first STUB\n\ndata: second",
	},
}

var scmTests = []clientTest{
	{"wget", `wget -qO- --header="Authorization: Bearer $KEY" ` + echoURL, "GET STUB"},
	{"wget captured", `wget --no-proxy -qO- --header="Authorization: Bearer $KEY" ` + echoURL, "GET STUB"},
	{
		"perl", `perl -MHTTP::Tiny -e 'print HTTP::Tiny->new->get("http://plain.clients.test/echo", {headers => {authorization => "Bearer $ENV{KEY}"}})->{content}'`,
		"GET STUB",
	},
}

var opensslTests = []clientTest{
	{
		"openssl", "printf " + askPlain + " | openssl s_client -quiet -verify_quiet -verify_return_error -verify_hostname key.clients.test" +
			" -servername key.clients.test -connect key.clients.test:443 2>/dev/null | tail -n 1", "GET STUB",
	},
	{
		"openssl by the proxy", "printf " + askPlain + " | openssl s_client -quiet -verify_quiet -verify_return_error -verify_hostname key.clients.test" +
			" -proxy 127.0.0.1:3128 -servername key.clients.test -connect key.clients.test:443 2>/dev/null | tail -n 1", "GET STUB",
	},
}

func (b *box) upload(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
	if err := b.WriteFile(t.Context(), b.session, "/work/body", bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	want := hex.EncodeToString(sum[:]) + " STUB"
	b.try(t, []clientTest{
		{"length known", curl + bearer + "-T /work/body https://key.clients.test/upload", want},
		{"HTTP/1.1", curl + bearer + "--http1.1 --data-binary @/work/body https://key.clients.test/upload", want},
		{"refused", "curl -s --max-time 20 -o /dev/null -w '%{http_code}' -T /work/body https://key.clients.test/upload", "401"},
		{"refused HTTP/1.1", "curl -s --max-time 20 -o /dev/null -w '%{http_code}' --http1.1 -H 'Expect:' -T /work/body https://key.clients.test/upload", "401"},
		{"length not known", curl + bearer + "--http1.1 -T - https://key.clients.test/upload </work/body", want},
	})
}

const commit = `git -c user.name=a -c user.email=a@example.com commit -qm `

// git clones and pushes a private repository, which lap has cloned to /work/repo before.
func (b *box) git(t *testing.T) {
	b.try(t, []clientTest{
		{"clone with the token", "cd /work && git clone -q https://x-access-token:$GITHUB_TOKEN@git.clients.test/private/r.git a && cat a/hello.txt", "hello"},
		{"push with the token", "cd /work/a && echo 1 >one && git add one && " + commit + "second && git push -q && git ls-remote -q | grep -c $(git rev-parse HEAD)", "2"},
		{"clone by the helper", "cd /work && git clone -q https://git.clients.test/private/r.git b && cat b/one", "1"},
		{"push by the helper", "cd /work/b && git checkout -qb other && echo 2 >two && git add two && " + commit + "third && git push -q -u origin other && git log -1 --format=%s origin/other", "third"},
		{"captured", direct + "git -C /work/b fetch -q && git -C /work/b log -1 --format=%s origin/main", "second"},
		{"push of the working tree", "cd /work/repo && git pull -q && echo 3 >three && git add three && " + commit + "fourth && git push -q && git -C /work/a pull -q && git -C /work/a log -1 --format=%s", "fourth"},
		{"push of much", "cd /work/b && head -c 4000000 /dev/urandom >much && git add much && " + commit + "much && git push -q 2>&1 && git ls-remote -q origin other | cut -f2", "refs/heads/other"},
		{"clone of much", "cd /work && git clone -q -b other https://git.clients.test/private/r.git c && cmp b/much c/much && echo same", "same"},
		{"no token on disk", "cat /work/b/.git/config /work/repo/.git/config | grep -c -e stub_ -e x-access", "0\n[exit code 1]"},
	})
}

const goProgram = `package main

import ("fmt"; "io"; "net/http"; "os")

func main() {
	t := http.DefaultTransport.(*http.Transport)
	if len(os.Args) > 1 { t.Proxy = nil }
	r, _ := http.NewRequest("GET", "https://key.clients.test/echo", nil)
	r.Header.Set("Authorization", "Bearer "+os.Getenv("KEY"))
	res, err := http.DefaultClient.Do(r)
	if err != nil { fmt.Println(err); return }
	io.Copy(os.Stdout, res.Body)
}`

func (b *box) goProgram(t *testing.T) {
	tool, err := exec.LookPath("go")
	needs(t, err)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(goProgram), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), tool, "build", "-trimpath", "-o", "client", "main.go")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(filepath.Join(dir, "client"))
	if err != nil {
		t.Fatal(err)
	}
	b.put(t, "/work/client", string(program))
	b.try(t, []clientTest{
		{"proxy", "chmod +x /work/client; /work/client", "GET STUB"},
		{"captured", "/work/client direct", "GET STUB"},
	})
}

// passThrough looks at a host that no credential is for: nothing stands between.
func (b *box) passThrough(t *testing.T) {
	dir := t.TempDir()
	authority, err := ca.Open(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	mine, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	b.put(t, "/work/me.crt", string(mine))
	b.put(t, "/work/me.key", string(key))
	block, _ := pem.Decode([]byte(authority.Certificate()))
	me := fingerprint(block.Bytes)
	its := b.far.certificate(t, b.far.open, "open.clients.test")
	const show = " </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256 | cut -d= -f2 | tr -d : | tr A-F a-f"
	const openURL = "https://open.clients.test/"
	b.try(t, []clientTest{
		{"certificate", "openssl s_client -proxy 127.0.0.1:3128 -servername open.clients.test -connect open.clients.test:443" + show, its},
		{"certificate captured", "openssl s_client -servername open.clients.test -connect open.clients.test:443" + show, its},
		{"HTTP/2", curl + "--http2 " + openURL, "HTTP/2.0 nobody"},
		{"HTTP/2 captured", curl + "--http2 --noproxy '*' " + openURL, "HTTP/2.0 nobody"},
		{"client certificate", curl + "--cert /work/me.crt --key /work/me.key " + openURL, "HTTP/2.0 " + me},
		{"client certificate captured", curl + "--http1.1 --noproxy '*' --cert /work/me.crt --key /work/me.key " + openURL, "HTTP/1.1 " + me},
		{"the stub is none's", curl + bearer + openURL, "HTTP/2.0 nobody STUB"},
	})
	if !b.far.got("open "+b.stub) || b.far.got("open "+realKey) {
		t.Error("a host without a credential must get the stub as it is")
	}
	opened := b.sh(t, b.session, "openssl s_client -servername key.clients.test -connect key.clients.test:443"+show)
	if strings.Contains(opened, b.far.certificate(t, b.far.secure, "key.clients.test")) || len(opened) != len(its) {
		t.Errorf("the certificate of a host with a credential is %s, want one of lap's", opened)
	}
}
