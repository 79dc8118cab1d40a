package ca_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"lap/sandbox/vault/ca"
)

type signer = crypto.Signer

var serial = big.NewInt(7)

func encode(tb testing.TB, key any) string {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestOpenOwn(t *testing.T) {
	ec := newKey(t)
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	parameters := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	tests := []struct {
		name string
		key  signer
		text string
	}{
		{"ec pkcs8", ec, encode(t, ec)},
		{"ec sec1", ec, parameters + string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))},
		{"rsa pkcs8", private, encode(t, private)},
		{"rsa pkcs1", private, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			certFile, keyFile := install(t, t.TempDir(), template(), tt.key, tt.text)
			if err := os.Chmod(keyFile, 0o644); err != nil {
				t.Fatal(err)
			}
			a, err := ca.Open(certFile, keyFile)
			if err != nil {
				t.Fatal(err)
			}
			if got := mode(t, keyFile); got != 0o600 {
				t.Errorf("mode of the key = %o", got)
			}
			verify(t, a, "example.com")
		})
	}
}

func TestOpenDamaged(t *testing.T) {
	key := newKey(t)
	text := encode(t, key)
	_, odd, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*x509.Certificate)) *x509.Certificate {
		root := template()
		change(root)
		return root
	}
	tests := []struct {
		name string
		root *x509.Certificate
		key  signer
		text string
		want string // in the error
	}{
		{"key empty", template(), key, "", "own.key: holds no PEM private key"},
		{"key cut", template(), key, text[:80] + text[len(text)-26:], "own.key: "},
		{"key of another", template(), key, encode(t, newKey(t)), "own.key is not the key of "},
		{"key of another kind", template(), odd, encode(t, odd), "own.key: is a key of the type ed25519"},
		{"key encrypted", template(), key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "own.key: is encrypted"},
		{
			"expired", with(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Unix(0, 0), time.Unix(9, 0) }), key, text,
			"own.crt: has expired on 1970-01-01",
		},
		{"not yet valid", with(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), key, text, "own.crt: is valid only from"},
		{"no authority", with(func(c *x509.Certificate) { c.IsCA = false }), key, text, "own.crt: is not the certificate of an authority"},
		{"no signatures", with(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), key, text, "own.crt: may not sign"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			certFile, keyFile := install(t, t.TempDir(), tt.root, tt.key, tt.text)
			wantError(t, certFile, keyFile, tt.want)
			wantError(t, certFile, keyFile, "remove both "+certFile+" and "+keyFile)
		})
	}
}

func TestOpenDamagedCertificate(t *testing.T) {
	_, certFile, keyFile := open(t)
	for _, text := range []string{"", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if err := os.WriteFile(certFile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		wantError(t, certFile, keyFile, "ca.crt: ")
	}
}

func TestOpenIntermediate(t *testing.T) {
	key, above := newKey(t), newKey(t)
	certFile, keyFile := install(t, t.TempDir(), template(), key, encode(t, key))
	child := template()
	child.RawSubject = nil
	child.Subject.CommonName = "below"
	der, err := x509.CreateCertificate(rand.Reader, child, template(), key.Public(), above)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	wantError(t, certFile, keyFile, "own.crt: is not a root")
}

func TestOpenOneMissing(t *testing.T) {
	for _, gone := range []string{"ca.crt", "ca.key"} {
		_, certFile, keyFile := open(t)
		if err := os.Remove(strings.Replace(certFile, "ca.crt", gone, 1)); err != nil {
			t.Fatal(err)
		}
		wantError(t, certFile, keyFile, gone+" is missing")
	}
}

func TestOpenUnreadable(t *testing.T) {
	_, certFile, keyFile := open(t)
	for _, path := range []string{keyFile, certFile} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path, 0o700); err != nil { // which not even root can read
			t.Fatal(err)
		}
		wantError(t, certFile, keyFile, path)
	}
}

func TestOpenForeignKey(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	tests := []struct {
		mode os.FileMode
		want string
	}{
		{0o640, ""}, // lent through a group
		{0o644, "everybody can read the key"},
	}
	for _, tt := range tests {
		_, certFile, keyFile := open(t)
		if err := os.Chmod(keyFile, tt.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(keyFile, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if tt.want != "" {
			wantError(t, certFile, keyFile, tt.want)
		} else if _, err := ca.Open(certFile, keyFile); err != nil {
			t.Error(err)
		}
		if got := mode(t, keyFile); got != tt.mode {
			t.Errorf("mode = %o, want %o", got, tt.mode)
		}
	}
}

func wantError(t *testing.T, certFile, keyFile, want string) {
	t.Helper()
	_, err := ca.Open(certFile, keyFile)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want %s", err, want)
	}
}
