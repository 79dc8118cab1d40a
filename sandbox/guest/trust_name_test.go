//go:build linux

package guest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lap/sandbox/guest"
)

// part is an attribute of a name.
type part struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

type partSET []part

func TestNameHash(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl here")
	}
	of := func(attribute, tag int, value string) part {
		return part{asn1.ObjectIdentifier{2, 5, 4, attribute}, asn1.RawValue{Tag: tag, Bytes: []byte(value)}}
	}
	const common, country, organization = 3, 6, 10
	tests := []struct {
		name  string
		parts []partSET
	}{
		{"plain", []partSET{{of(common, asn1.TagUTF8String, "lap 0123abcd")}, {of(organization, asn1.TagPrintableString, "lap")}}},
		{"spaces and case", []partSET{{of(country, asn1.TagPrintableString, "DE")}, {of(common, asn1.TagUTF8String, " \tMy  Own\n\vÄÖ Root ")}}},
		{"latin-1", []partSET{{of(common, asn1.TagT61String, "Caf\xe9 CA")}}},
		{"utf-16", []partSET{{of(common, asn1.TagBMPString, "\x00C\x20\xac\x00 \x00 \x00A")}}},
		{"ascii", []partSET{{of(common, asn1.TagIA5String, "A@B")}}},
		{"numbers", []partSET{{of(common, asn1.TagNumericString, "1  2 ")}}},
		{"two in a set", []partSET{{of(common, asn1.TagPrintableString, "Z"), of(common, asn1.TagUTF8String, "AA")}}},
		{"none", []partSET{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name, err := asn1.Marshal(tt.parts)
			if err != nil {
				t.Fatal(err)
			}
			got, err := guest.NameHash(name)
			if err != nil {
				t.Fatal(err)
			}
			if want := opensslHash(t, name); got != want {
				t.Errorf("hash = %s, want %s", got, want)
			}
		})
	}
	if _, err := guest.NameHash([]byte("no name")); err == nil {
		t.Error("a hash of no name")
	}
}

// opensslHash is the hash of a name as OpenSSL makes it.
func opensslHash(t *testing.T, name []byte) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: name, DNSNames: []string{"a"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.crt")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "openssl", "x509", "-noout", "-subject_hash", "-in", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}
