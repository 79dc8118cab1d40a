package mirror_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lap/server/mirror"
)

// What the machine says about proxies and certificates holds for git, too.
func TestNetworkOfTheMachine(t *testing.T) {
	o := newOrigin(t)
	t.Run("certificate", func(t *testing.T) {
		h := o.handler("")
		h.Server = httptest.NewTLSServer(h)
		t.Cleanup(h.Close)
		file := filepath.Join(t.TempDir(), "ca.pem")
		write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})))
		t.Setenv("SSL_CERT_FILE", file)
		t.Setenv("GIT_SSL_CAINFO", "")
		m, _, _ := newMirrors(t)
		dir, _ := unpack(t, m, h.repo("main"))
		clean(t, dir)
	})
	t.Run("proxy", func(t *testing.T) {
		h := o.serve("")
		proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Host = strings.TrimPrefix(h.URL, "http://")
		}})
		t.Cleanup(proxy.Close)
		t.Setenv("http_proxy", strings.Replace(proxy.URL, "http://", "http://u:hunter2@", 1))
		m, _, _ := newMirrors(t)
		repo := mirror.Repo{URL: "http://only-the-proxy-knows.invalid/o/r.git", Branch: "main"}
		dir, _ := unpack(t, m, repo)
		clean(t, dir)
		proxy.Close()
		fails(t, m, repo, mirror.ErrUnreachable)
		if _, err := m.Prepare(t.Context(), repo, nil); strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error = %v, tells the proxy's password", err)
		}
	})
}

// fakeSSH is an ssh that runs what it is asked for on this machine, below root.
const fakeSSH = `#!/bin/sh
echo "$*" >> "$0.log"
for last; do :; done
case "$last" in
*secret*) echo 'git@host: Permission denied (publickey).' >&2; exit 255 ;;
*changed*) echo 'Host key verification failed.' >&2; exit 255 ;;
esac
path=${last#*\'}
exec git-upload-pack "ROOT${path%\'}"
`

func TestNetworkSSH(t *testing.T) {
	o := newOrigin(t)
	bin := t.TempDir()
	write(t, bin+"/ssh", strings.Replace(fakeSSH, "ROOT", o.root, 1))
	if err := os.Chmod(bin+"/ssh", 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	m, _, _ := newMirrors(t)
	repo := mirror.Repo{URL: "ssh://git@host.invalid:2222/o/r.git", Branch: "main", Token: token}
	dir, _ := unpack(t, m, repo)
	clean(t, dir)
	if got := git(t, dir, "remote", "get-url", "origin"); got != repo.URL {
		t.Errorf("origin = %s, want %s", got, repo.URL)
	}
	log, err := os.ReadFile(bin + "/ssh.log")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"BatchMode=yes", "StrictHostKeyChecking=accept-new", "-p 2222 git@host.invalid"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("ssh %s: want %s in it", log, want)
		}
	}
	for path, want := range map[string]struct {
		kind  error
		words string
	}{
		"secret":  {mirror.ErrCredential, "refused the ssh key"},
		"changed": {mirror.ErrUntrusted, "Host key verification failed"},
		"gone":    {mirror.ErrNotFound, "may not be read"},
	} {
		repo.URL = "ssh://git@host.invalid/o/" + path
		fails(t, m, repo, want.kind, "host.invalid/o/"+path, want.words)
	}
}

// A server that breaks off is told as such.
func TestNetworkBreaksOff(t *testing.T) {
	o := newOrigin(t)
	o.push("main", "big", random(1<<20))
	h := o.handler("")
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&cutting{ResponseWriter: w, left: 100_000}, r)
	}))
	t.Cleanup(h.Close)
	m, cache, _ := newMirrors(t)
	fails(t, m, h.repo("main"), mirror.ErrUnreachable, "/o/r")
	if left, err := os.ReadDir(cache); err != nil || len(left) > 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}
