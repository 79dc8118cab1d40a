//go:build linux

package guest_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"lap/sandbox/guest"
)

const javaOptions = "-Djavax.net.ssl.trustStore=/var/lib/lap/truststore.jks -Djavax.net.ssl.trustStorePassword=changeit -Djavax.net.ssl.trustStoreType=JKS"

func certificateOf(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// jks is a truststore in Java's own format.
func jks(t *testing.T, certs ...string) string {
	t.Helper()
	text := "\xfe\xed\xfe\xed\x00\x00\x00\x02\x00\x00\x00" + string(rune(len(certs)))
	for i, cert := range certs {
		der := certificateOf(t, cert).Raw
		text += "\x00\x00\x00\x02\x00\x01" + string(rune('a'+i)) + "\x00\x00\x01\x02\x03\x04\x05\x06\x00\x05X.509" +
			"\x00\x00" + string([]byte{byte(len(der) >> 8), byte(len(der))}) + string(der)
	}
	return text + strings.Repeat("\x00", 20)
}

func p12(t *testing.T, encoder *pkcs12.Encoder, password string, certs ...string) string {
	t.Helper()
	var all []*x509.Certificate
	for _, cert := range certs {
		all = append(all, certificateOf(t, cert))
	}
	text, err := encoder.EncodeTrustStore(all, password)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTrustJava(t *testing.T) {
	root, second, mine := authority(t), authority(t), authority(t)
	tests := []struct {
		name string
		make func(*image)
	}{
		{"debian", func(i *image) {
			i.write("/etc/ssl/certs/java/cacerts", jks(t, second, root))
			i.link("/usr/lib/jvm/java-17/lib/security/cacerts", "../../../../../../etc/ssl/certs/java/cacerts")
			i.link("/usr/lib/jvm/default", "java-17")
		}},
		{"java 17", func(i *image) {
			i.write("/opt/java/openjdk/lib/security/cacerts", p12(t, pkcs12.LegacyRC2, "changeit", second))
		}},
		{"java 21", func(i *image) {
			i.write("/opt/java/openjdk/lib/security/cacerts", p12(t, pkcs12.Passwordless, "", second))
		}},
		{"java 8", func(i *image) { i.write("/usr/lib/jvm/java-8/jre/lib/security/cacerts", jks(t, second)) }},
		{"by its variable", func(i *image) { i.write("/home/me/jdk/lib/security/cacerts", jks(t, second)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := newImage(t)
			i.write("/etc/ssl/certs/ca-certificates.crt", root)
			tt.make(i)
			variables := map[string]string{"JAVA_TOOL_OPTIONS": "-Xmx1g", "JAVA_HOME": "/home/me/jdk"}
			env, log := i.tryWith(mine, variables)
			if log != "" {
				t.Error(log)
			}
			if got, want := env["JAVA_TOOL_OPTIONS"], "-Xmx1g "+javaOptions; got != want {
				t.Errorf("options = %s, want %s", got, want)
			}
			if diff := cmp.Diff(map[string]bool{root: true, second: true, mine: true}, i.truststore()); diff != "" {
				t.Error(diff)
			}
			another := authority(t)
			i.tryWith(another, variables)
			if diff := cmp.Diff(map[string]bool{root: true, second: true, another: true}, i.truststore()); diff != "" {
				t.Errorf("with another authority: %s", diff)
			}
		})
	}
}

// truststore returns what the truststore holds.
func (i *image) truststore() map[string]bool {
	i.t.Helper()
	certs, err := guest.ReadJKS([]byte(i.read("/var/lib/lap/truststore.jks")))
	if err != nil {
		i.t.Fatal(err)
	}
	all := map[string]bool{}
	for _, der := range certs {
		all[string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))] = true
	}
	return all
}

func TestTrustJavaDamaged(t *testing.T) {
	root := authority(t)
	for _, text := range []string{"", "no store", "\xfe\xed\xfe\xed", jks(t, root)[:100], "\xfe\xed\xfe\xed\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x01"} {
		i := newImage(t)
		i.write("/etc/ssl/certs/java/cacerts", text)
		i.write("/etc/ssl/certs/ca-certificates.crt", root)
		env, log := i.tryWith(authority(t), map[string]string{})
		if !strings.Contains(log, "java") || env["JAVA_TOOL_OPTIONS"] != javaOptions {
			t.Errorf("%q: options = %q, log = %s", text, env["JAVA_TOOL_OPTIONS"], log)
		}
	}
}

func TestKeytool(t *testing.T) {
	if _, err := exec.LookPath("keytool"); err != nil {
		t.Skip("no keytool here")
	}
	i := newImage(t)
	i.write("/etc/ssl/certs/java/cacerts", jks(t, authority(t), authority(t)))
	i.write("/etc/ssl/certs/ca-certificates.crt", authority(t))
	i.trust(authority(t) + authority(t))
	cmd := exec.CommandContext(t.Context(), "keytool", "-list", "-keystore", i.root+"/var/lib/lap/truststore.jks", "-storepass", "changeit")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "trustedCertEntry") != 5 {
		t.Errorf("%v: %s", err, out)
	}
}
