package ca_test

import (
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lap/sandbox/vault/ca"
)

// run runs a program that must end well, with variables added to its environment.
func run(t *testing.T, variables []string, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s here", name)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "no_proxy=*", "NO_PROXY=*")
	cmd.Env = append(cmd.Env, variables...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestOpenSSL(t *testing.T) {
	a, certFile, _ := open(t)
	for option, host := range map[string]string{
		"-verify_hostname": "example.com", "-verify_ip": "2001:db8::1", "-no_check_time": strings.Repeat("a", 63) + ".example",
	} {
		cert, err := a.Leaf(host)
		if err != nil {
			t.Fatal(err)
		}
		leafFile := filepath.Join(t.TempDir(), "leaf.crt")
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
		if err := os.WriteFile(leafFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{"verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", certFile, option}
		if option != "-no_check_time" {
			args = append(args, host)
		}
		run(t, nil, "openssl", append(args, leafFile)...)
	}
}

func TestCerttool(t *testing.T) {
	a, certFile, _ := open(t)
	cert, err := a.Leaf("example.com")
	if err != nil {
		t.Fatal(err)
	}
	leafFile := filepath.Join(t.TempDir(), "leaf.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	if err := os.WriteFile(leafFile, text, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "certtool", "--verify", "--load-ca-certificate", certFile, "--verify-hostname", "example.com", "--infile", leafFile)
}

// serve plays host on a loopback address and returns its port.
func serve(t *testing.T, a *ca.Authority, host string) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("served " + r.Proto))
	}))
	srv.Listener = tls.NewListener(srv.Listener, a.Config(host))
	srv.Start()
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

const (
	pythonClient = `import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[2])
context.verify_flags |= ssl.VERIFY_X509_STRICT
print(urllib.request.urlopen(sys.argv[1], context=context).read().decode())`
	nodeClient = `require("https").get(process.argv[1], r => r.on("data", d => console.log(String(d))))`
	javaClient = `class Client {
	public static void main(String[] args) throws Exception {
		System.out.println(new String(new java.net.URL(args[0]).openStream().readAllBytes()));
	}
}`
)

func TestClients(t *testing.T) {
	a, certFile, _ := open(t)
	tests := []struct {
		name string
		get  func(t *testing.T, url string) string
	}{
		{"curl", func(t *testing.T, url string) string {
			t.Helper()
			return run(t, nil, "curl", "-sS", "--http1.1", "--cacert", certFile, url)
		}},
		{"wget", func(t *testing.T, url string) string {
			t.Helper()
			return run(t, nil, "wget", "-nv", "-O", "-", "--ca-certificate", certFile, url)
		}},
		{"gnutls-cli", func(t *testing.T, url string) string {
			t.Helper()
			host, port, err := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
			if err != nil {
				t.Fatal(err)
			}
			run(t, nil, "gnutls-cli", "--x509cafile", certFile, "-p", port, host)
			return "served" // which it would not have ended well without
		}},
		{"python3", func(t *testing.T, url string) string {
			t.Helper()
			return run(t, nil, "python3", "-c", pythonClient, url, certFile)
		}},
		{"node", func(t *testing.T, url string) string {
			t.Helper()
			return run(t, []string{"NODE_EXTRA_CA_CERTS=" + certFile}, "node", "-e", nodeClient, url)
		}},
		{"java", func(t *testing.T, url string) string {
			t.Helper()
			dir := t.TempDir()
			store := filepath.Join(dir, "store.p12")
			run(t, nil, "keytool", "-importcert", "-noprompt", "-file", certFile, "-keystore", store, "-storepass", "changeit")
			if err := os.WriteFile(dir+"/Client.java", []byte(javaClient), 0o600); err != nil {
				t.Fatal(err)
			}
			return run(t, nil, "java", "-Djavax.net.ssl.trustStore="+store, "-Djavax.net.ssl.trustStorePassword=changeit", dir+"/Client.java", url)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, host := range []string{"localhost", "127.0.0.1"} {
				if got := tt.get(t, "https://"+net.JoinHostPort(host, serve(t, a, host))); !strings.Contains(got, "served") {
					t.Errorf("%s: %s", host, got)
				}
			}
		})
	}
}
