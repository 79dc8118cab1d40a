//go:build linux

package guest_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/sandbox/guest"
	"lap/sandbox/vault/ca"
)

const own = "/var/lib/lap/ca.crt"

// image is a file system that a sandbox could have.
type image struct {
	t    *testing.T
	root string
}

func newImage(t *testing.T) *image {
	t.Helper()
	return &image{t, t.TempDir()}
}

func (i *image) write(path, text string) {
	i.t.Helper()
	if err := os.MkdirAll(filepath.Dir(i.root+path), 0o755); err != nil {
		i.t.Fatal(err)
	}
	if err := os.WriteFile(i.root+path, []byte(text), 0o644); err != nil {
		i.t.Fatal(err)
	}
}

func (i *image) link(path, to string) {
	i.t.Helper()
	if err := os.MkdirAll(filepath.Dir(i.root+path), 0o755); err != nil {
		i.t.Fatal(err)
	}
	if err := os.Symlink(to, i.root+path); err != nil {
		i.t.Fatal(err)
	}
}

func (i *image) read(path string) string {
	i.t.Helper()
	text, err := os.ReadFile(i.root + path)
	if err != nil {
		i.t.Fatal(err)
	}
	return string(text)
}

// trust trusts a certificate without a warning, and returns the variables for it.
func (i *image) trust(certificate string) map[string]string {
	i.t.Helper()
	env, log := i.try(certificate)
	if log != "" {
		i.t.Errorf("warnings: %s", log)
	}
	return env
}

func (i *image) try(certificate string) (env map[string]string, log string) {
	i.t.Helper()
	return i.tryWith(certificate, map[string]string{"SSL_CERT_FILE": "/mine", "HOME": "/root"})
}

func (i *image) tryWith(certificate string, variables map[string]string) (env map[string]string, log string) {
	i.t.Helper()
	env = maps.Clone(variables)
	var stderr bytes.Buffer
	if err := guest.TrustIn(i.root, certificate, env, &stderr); err != nil {
		i.t.Fatal(err)
	}
	return env, stderr.String()
}

// files returns the paths of all files and links, with what makes one differ from another.
func (i *image) files() map[string]string {
	i.t.Helper()
	all := map[string]string{}
	err := filepath.Walk(i.root, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			text, _ := os.ReadFile(path)
			all[strings.TrimPrefix(path, i.root)] = info.ModTime().String() + info.Mode().String() + string(text)
		}
		return err
	})
	if err != nil {
		i.t.Fatal(err)
	}
	return all
}

// authority returns the certificate of a fresh authority, PEM.
func authority(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	a, err := ca.Open(dir+"/ca.crt", dir+"/ca.key")
	if err != nil {
		tb.Fatal(err)
	}
	return a.Certificate()
}

func TestTrustBundles(t *testing.T) {
	root := authority(t)
	const debian = "/etc/ssl/certs/ca-certificates.crt"
	tests := []struct {
		name   string
		make   func(*image)
		bundle string   // for the variables
		also   []string // has it too
		links  []string // still are links
	}{
		{"debian", func(i *image) { i.write(debian, root) }, debian, nil, nil},
		{"without a newline at the end", func(i *image) { i.write(debian, "# a root\n"+strings.TrimSpace(root)) }, debian, nil, nil},
		{"alpine", func(i *image) {
			i.write(debian, root)
			i.link("/etc/ssl/cert.pem", "certs/ca-certificates.crt")
		}, debian, []string{"/etc/ssl/cert.pem"}, []string{"/etc/ssl/cert.pem"}},
		{
			"fedora", func(i *image) {
				i.write("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", root)
				i.link("/etc/pki/tls/certs/ca-bundle.crt", "../../ca-trust/extracted/pem/tls-ca-bundle.pem")
				i.link("/etc/ssl/certs", "../pki/tls/certs")
			}, "/etc/pki/tls/certs/ca-bundle.crt",
			[]string{"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/pki/ca-trust/source/anchors/lap.crt"},
			[]string{"/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs"},
		},
		{"suse", func(i *image) {
			i.write("/var/lib/ca-certificates/ca-bundle.pem", root)
			i.link("/etc/ssl/ca-bundle.pem", "../../var/lib/ca-certificates/ca-bundle.pem")
			i.write("/usr/share/pki/trust/anchors/.keep", "")
		}, "/etc/ssl/ca-bundle.pem", []string{"/usr/share/pki/trust/anchors/lap.crt"}, []string{"/etc/ssl/ca-bundle.pem"}},
		{"link to nothing", func(i *image) { i.link(debian, "nothing.crt") }, debian, nil, nil},
		{"empty", func(*image) {}, debian, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := newImage(t)
			tt.make(i)
			before, _ := os.ReadFile(i.root + tt.bundle)
			certificate := authority(t)
			if diff := cmp.Diff(wantVariables(tt.bundle), i.trust(certificate)); diff != "" {
				t.Error(diff)
			}
			i.wantCertificate(certificate, append(tt.also, tt.bundle, own, "/usr/local/share/ca-certificates/lap.crt"))
			i.wantLinks(tt.links)
			if want := strings.TrimSpace(string(before)) + "\n" + certificate; len(before) > 0 && i.read(tt.bundle) != want {
				t.Errorf("bundle = %s, want %s", i.read(tt.bundle), want)
			}

			files := i.files()
			i.trust(certificate)
			if diff := cmp.Diff(files, i.files()); diff != "" {
				t.Errorf("the second time: %s", diff)
			}
		})
	}
}

// wantVariables are those of a boot with a bundle.
func wantVariables(bundle string) map[string]string {
	return map[string]string{
		"HOME": "/root", "NODE_EXTRA_CA_CERTS": own, "DENO_CERT": own,
		"SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle, "PIP_CERT": bundle, "CURL_CA_BUNDLE": bundle,
		"GIT_SSL_CAINFO": bundle, "AWS_CA_BUNDLE": bundle, "CARGO_HTTP_CAINFO": bundle,
		"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": bundle, "NIX_SSL_CERT_FILE": bundle,
	}
}

func (i *image) wantCertificate(certificate string, paths []string) {
	i.t.Helper()
	for _, path := range paths {
		if !strings.HasSuffix(i.read(path), certificate) {
			i.t.Errorf("%s = %s", path, i.read(path))
		}
	}
}

func (i *image) wantLinks(paths []string) {
	i.t.Helper()
	for _, path := range paths {
		if _, err := os.Readlink(i.root + path); err != nil {
			i.t.Error(err)
		}
	}
}

func TestTrustAnother(t *testing.T) {
	i := newImage(t)
	root, first, second := authority(t), authority(t), authority(t)
	i.write("/etc/ssl/certs/ca-certificates.crt", root)
	i.trust(first)
	i.write("/etc/ssl/certs/ca-certificates.crt", first+root) // as a tool sorts them that makes it anew
	i.trust(second)
	if got, want := i.read("/etc/ssl/certs/ca-certificates.crt"), root+second; got != want {
		t.Errorf("bundle = %s, want %s", got, want)
	}
	for path, text := range i.files() {
		if strings.Contains(text, first) {
			t.Errorf("%s still has the first one", path)
		}
	}
	if links, _ := filepath.Glob(i.root + "/etc/ssl/certs/*.0"); len(links) != 1 {
		t.Errorf("links = %q", links)
	}
}

func TestTrustNoCertificate(t *testing.T) {
	i := newImage(t)
	for _, text := range []string{"no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if err := guest.TrustIn(i.root, text, map[string]string{}, &bytes.Buffer{}); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
	if files := i.files(); len(files) > 0 {
		t.Errorf("files = %v", files)
	}
}

func TestTrustMode(t *testing.T) {
	i := newImage(t)
	const path = "/etc/ssl/certs/ca-certificates.crt"
	i.write(path, authority(t))
	if err := os.Chmod(i.root+path, 0o444); err != nil {
		t.Fatal(err)
	}
	i.trust(authority(t))
	info, err := os.Stat(i.root + path)
	if err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("mode = %v, %v", info.Mode(), err)
	}
}

func TestTrustHashed(t *testing.T) {
	i := newImage(t)
	certificate := authority(t)
	hash, err := guest.NameHash(certificateOf(t, certificate).RawSubject)
	if err != nil {
		t.Fatal(err)
	}
	taken, link := "/etc/ssl/certs/"+hash+".0", "/etc/ssl/certs/"+hash+".1"
	i.write(taken, "another")
	i.trust(certificate)
	if got := i.read(link); got != certificate {
		t.Errorf("%s = %s", link, got)
	}
	if i.read(taken) != "another" {
		t.Error("another certificate has been written over")
	}
	for _, path := range []string{taken, link} {
		if err := os.Remove(i.root + path); err != nil {
			t.Fatal(err)
		}
	}
	i.link(taken, "../../../usr/local/share/ca-certificates/lap.crt") // as openssl rehash does
	i.trust(certificate)
	if _, err := os.Lstat(i.root + link); err == nil {
		t.Error("linked twice")
	}

	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl here")
	}
	out, err := exec.CommandContext(t.Context(), "openssl", "verify", "-no-CAfile", "-CApath", i.root+"/etc/ssl/certs", i.root+own).CombinedOutput()
	if err != nil {
		t.Errorf("openssl: %v: %s", err, out)
	}
}

func TestTrustBrowsers(t *testing.T) {
	i := newImage(t)
	certificate := authority(t)
	i.trust(certificate)
	for _, dir := range []string{"/etc/chromium", "/etc/opt/chrome", "/etc/opt/chrome_for_testing"} {
		var policy struct{ CACertificates [][]byte }
		if err := json.Unmarshal([]byte(i.read(dir+"/policies/managed/lap.json")), &policy); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([][]byte{certificateOf(t, certificate).Raw}, policy.CACertificates); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTrustOddImages(t *testing.T) {
	root, certificate := authority(t), authority(t)
	const ownBundle = "/var/lib/lap/ca-bundle.crt"
	tests := []struct {
		name   string
		make   func(*image)
		bundle string // what it holds
	}{
		{"file for a folder", func(i *image) { i.write("/etc/ssl/certs", "") }, certificate},
		{"files for all folders", func(i *image) { i.write("/etc", ""); i.write("/usr", "") }, certificate},
		{"folder for a bundle", func(i *image) { i.write("/etc/ssl/certs/ca-certificates.crt/x", "") }, certificate},
		{"link to itself", func(i *image) { i.link("/etc/ssl/certs/ca-certificates.crt", "ca-certificates.crt") }, certificate},
		{"read-only folder", func(i *image) {
			i.write("/etc/ssl/certs/ca-certificates.crt", root)
			i.readOnly("/etc/ssl/certs")
		}, root + certificate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := newImage(t)
			tt.make(i)
			env, log := i.try(certificate)
			if !strings.Contains(log, "level=WARN") {
				t.Errorf("log = %s", log)
			}
			if env["SSL_CERT_FILE"] != ownBundle || i.read(ownBundle) != tt.bundle || i.read(own) != certificate {
				t.Errorf("bundle %s = %s", env["SSL_CERT_FILE"], i.read(ownBundle))
			}
		})
	}
}

// readOnly makes a folder one that not even root can write to.
func (i *image) readOnly(path string) {
	i.t.Helper()
	path = i.root + path
	if err := syscall.Mount(path, path, "", syscall.MS_BIND, ""); err != nil {
		i.t.Skipf("cannot mount: %v", err)
	}
	i.t.Cleanup(func() {
		if err := syscall.Unmount(path, 0); err != nil {
			i.t.Error(err)
		}
	})
	if err := syscall.Mount("", path, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		i.t.Fatal(err)
	}
}

func TestTrustUnwritable(t *testing.T) {
	i := newImage(t)
	i.write("/var/lib/lap", "")
	if err := guest.TrustIn(i.root, authority(t), map[string]string{}, &bytes.Buffer{}); err == nil {
		t.Error("no error though there is no copy of the certificate")
	}
}

func BenchmarkTrust(b *testing.B) {
	root, first, second := b.TempDir(), authority(b), authority(b)
	path := root + "/etc/ssl/certs/ca-certificates.crt"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte(authority(b)), 300), 0o644); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		first, second = second, first
		if err := guest.TrustIn(root, first, map[string]string{}, os.Stderr); err != nil {
			b.Fatal(err)
		}
	}
}
