package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"lap/sandbox/vault/ca"
)

// open makes an authority in a fresh folder.
func open(tb testing.TB) (a *ca.Authority, certFile, keyFile string) {
	tb.Helper()
	dir := tb.TempDir()
	certFile, keyFile = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	a, err := ca.Open(certFile, keyFile)
	if err != nil {
		tb.Fatal(err)
	}
	return a, certFile, keyFile
}

func parse(tb testing.TB, text string) *x509.Certificate {
	tb.Helper()
	block, _ := pem.Decode([]byte(text))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

func mode(tb testing.TB, path string) os.FileMode {
	tb.Helper()
	info, err := os.Stat(path)
	if err != nil {
		tb.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestOpenMakes(t *testing.T) {
	a, certFile, keyFile := open(t)
	if got := mode(t, keyFile); got != 0o600 {
		t.Errorf("mode of the key = %o", got)
	}
	if got := mode(t, certFile); got != 0o644 {
		t.Errorf("mode of the certificate = %o", got)
	}
	if left, _ := filepath.Glob(filepath.Dir(keyFile) + "/*"); len(left) != 2 {
		t.Errorf("files = %q", left)
	}
	if text, _ := os.ReadFile(certFile); string(text) != a.Certificate() {
		t.Errorf("certificate = %s, want %s", a.Certificate(), text)
	}
	cert := parse(t, a.Certificate())
	if !regexp.MustCompile(`^CN=lap [0-9a-f]{8},O=lap$`).MatchString(cert.Subject.String()) {
		t.Errorf("subject = %s", cert.Subject)
	}
	if !cert.IsCA || !cert.MaxPathLenZero || len(cert.SubjectKeyId) != 20 || cert.SerialNumber.BitLen() != 128 {
		t.Errorf("certificate = %+v", cert)
	}
	if years := time.Until(cert.NotAfter).Hours() / 24 / 365; years < 9.9 || years > 10.1 {
		t.Errorf("valid for %v years", years)
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		t.Error(err)
	}

	again, err := ca.Open(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if again.Certificate() != a.Certificate() {
		t.Error("another certificate the second time")
	}
	if other, _, _ := open(t); parse(t, other.Certificate()).Subject.String() == cert.Subject.String() {
		t.Error("two authorities have one name")
	}
}

func TestOpenWithoutFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := ca.Open(dir+"/ca.crt", dir+"/ca.key"); err == nil {
		t.Error("no error")
	}
}

// template is a root that Open takes.
func template() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		// As old tools write a name: a T61String, with a second attribute in one set.
		RawSubject:            []byte("\x30\x1b\x31\x19\x30\x08\x06\x03\x55\x04\x03\x14\x01\xe9\x30\x0d\x06\x03\x55\x04\x0a\x13\x06Acme  "),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
}

// install writes an authority of the user's own.
func install(tb testing.TB, dir string, root *x509.Certificate, key signer, keyText string) (certFile, keyFile string) {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "own.crt"), filepath.Join(dir, "own.key")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(certFile, text, 0o644); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(keyFile, []byte(keyText), 0o600); err != nil {
		tb.Fatal(err)
	}
	return certFile, keyFile
}

func TestConfig(t *testing.T) {
	a, _, _ := open(t)
	conf := a.Config("Example.COM")
	cert, err := conf.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.Leaf.VerifyHostname("example.com"); err != nil {
		t.Error(err)
	}
	if _, err := a.Config("*").GetCertificate(nil); err == nil {
		t.Error("a certificate for everything")
	}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func TestNewIsInNoFile(t *testing.T) {
	t.Chdir(t.TempDir())
	a, err := ca.New()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Leaf("example.com")
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.Leaf.CheckSignatureFrom(parse(t, a.Certificate())); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("files %v, error %v", left, err)
	}
}
