package ca_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/sandbox/vault/ca"
)

// verify checks the leaf of host as Go's clients do.
func verify(tb testing.TB, a *ca.Authority, host string) *tls.Certificate {
	tb.Helper()
	cert, err := a.Leaf(host)
	if err != nil {
		tb.Fatal(err)
	}
	root := parse(tb, a.Certificate())
	roots := x509.NewCertPool()
	roots.AddCert(root)
	_, err = cert.Leaf.Verify(x509.VerifyOptions{
		DNSName: strings.Trim(host, "[]"), Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		tb.Error(err)
	}
	if !bytes.Equal(cert.Leaf.RawIssuer, root.RawSubject) {
		tb.Errorf("issuer = %x, want %x", cert.Leaf.RawIssuer, root.RawSubject)
	}
	if !bytes.Equal(cert.Leaf.AuthorityKeyId, root.SubjectKeyId) {
		tb.Errorf("authority key id = %x, want %x", cert.Leaf.AuthorityKeyId, root.SubjectKeyId)
	}
	if len(cert.Certificate) != 2 || !bytes.Equal(cert.Certificate[1], root.Raw) {
		tb.Errorf("chain of %d certificates", len(cert.Certificate))
	}
	return cert
}

func TestLeaf(t *testing.T) {
	long := strings.Repeat("a", 63) + ".example"
	tests := []struct{ host, name, dns, ip string }{
		{"example.com", "example.com", "example.com", ""},
		{"Example.COM.", "example.com", "example.com", ""},
		{"a_b.example", "a_b.example", "a_b.example", ""},
		{long, "", long, ""},
		{"192.0.2.1", "192.0.2.1", "", "192.0.2.1"},
		{"2001:DB8::1", "2001:db8::1", "", "2001:db8::1"},
		{"[2001:db8::1]", "2001:db8::1", "", "2001:db8::1"},
	}
	a, _, _ := open(t)
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			leaf := verify(t, a, tt.host).Leaf
			var ip string
			for _, address := range leaf.IPAddresses {
				ip += address.String()
			}
			if dns := strings.Join(leaf.DNSNames, " "); leaf.Subject.CommonName != tt.name || dns != tt.dns || ip != tt.ip {
				t.Errorf("names = %q %q %q", leaf.Subject.CommonName, dns, ip)
			}
			if leaf.KeyUsage != x509.KeyUsageDigitalSignature || leaf.IsCA || len(leaf.SubjectKeyId) != 20 || leaf.SerialNumber.BitLen() != 128 {
				t.Errorf("leaf = %+v", leaf)
			}
		})
	}
}

func TestLeafRefused(t *testing.T) {
	a, _, _ := open(t)
	for _, host := range []string{
		"", ".", "*", "*.example.com", "a..b", "a b", "a/b", "a\x00.example", "bücher.example", "example.com:443",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "example",
	} {
		if _, err := a.Leaf(host); err == nil {
			t.Errorf("%q has got a certificate", host)
		}
	}
}

// clock is a time that tests set.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func TestLeafLife(t *testing.T) {
	dir := t.TempDir()
	c := &clock{time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	a, err := ca.OpenAt(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"), c.now)
	if err != nil {
		t.Fatal(err)
	}
	start := c.at
	leaf := func() *x509.Certificate {
		t.Helper()
		cert, err := a.Leaf("example.com")
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf
	}
	c.at = start.Add(-time.Minute)
	first := leaf()
	if !first.NotBefore.Equal(start.Add(-time.Hour)) { // no earlier than the authority
		t.Errorf("first not before = %s", first.NotBefore)
	}
	if !first.NotAfter.Equal(c.at.Add(24 * time.Hour)) {
		t.Errorf("first not after = %s", first.NotAfter)
	}
	c.at = first.NotAfter.Add(-31 * time.Minute)
	if leaf() != first {
		t.Error("made anew too early")
	}
	c.at = first.NotAfter.Add(-30 * time.Minute)
	second := leaf()
	if second == first {
		t.Fatal("not made anew")
	}
	if !second.NotBefore.Equal(c.at.Add(-time.Hour)) {
		t.Errorf("second not before = %s", second.NotBefore)
	}

	end := parse(t, a.Certificate()).NotAfter
	c.at = end.Add(-time.Hour)
	if last := leaf(); !last.NotAfter.Equal(end) {
		t.Errorf("last not after = %s, want %s", last.NotAfter, end)
	}
	c.at = end
	if _, err := a.Leaf("example.com"); err == nil {
		t.Error("a certificate of an authority that has expired")
	}
}

func TestLeafAtOnce(t *testing.T) {
	a, _, _ := open(t)
	const hosts, callers = 20, 8
	var all [hosts][callers]*tls.Certificate
	var work sync.WaitGroup
	for host := range hosts {
		for caller := range callers {
			work.Go(func() {
				cert, err := a.Leaf("host" + strconv.Itoa(host))
				if err != nil {
					t.Error(err)
				}
				all[host][caller] = cert
			})
		}
	}
	work.Wait()
	for host := range all {
		for caller := range all[host] {
			if all[host][caller] != all[host][0] {
				t.Errorf("host %d has several certificates", host)
			}
		}
	}
}

func TestLeafForgotten(t *testing.T) {
	a, _, _ := open(t)
	first, used := verify(t, a, "first"), verify(t, a, "used")
	for i := range 1023 {
		if _, err := a.Leaf("host" + strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		verify(t, a, "used")
	}
	if verify(t, a, "used") != used {
		t.Error("forgot what is in use")
	}
	if verify(t, a, "first") == first {
		t.Error("remembers without bound")
	}
}

func BenchmarkLeaf(b *testing.B) {
	a, _, _ := open(b)
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			if _, err := a.Leaf("example.com"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("made", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			if _, err := a.Leaf("host" + strconv.Itoa(n) + ".example"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
