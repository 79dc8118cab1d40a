package ca

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"time"
)

// maxCommonName is how long a common name can be (ub-common-name). Longer hosts have none:
// clients look at the alternative names only.
const maxCommonName = 64

// sign makes the certificate of a normalized host.
func (a *Authority) sign(host string, now time.Time) (*tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber:          serial(),
		NotBefore:             latest(now.Add(-skew), a.cert.NotBefore),
		NotAfter:              earliest(now.Add(leafLife), a.cert.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature, // GnuTLS asks for it
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		SubjectKeyId:          keyID(&a.leafKey.PublicKey),
	}
	if len(host) <= maxCommonName {
		template.Subject = pkix.Name{CommonName: host}
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	// The issuer is the authority's subject byte for byte, as GnuTLS wants it.
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.leafKey.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: a.leafKey, Leaf: leaf}, nil
}

// keyID is the identifier of a public key (RFC 7093, method 1).
func keyID(key *ecdsa.PublicKey) []byte {
	point, err := key.Bytes()
	if err != nil { // the curve is P-256
		return nil
	}
	sum := sha256.Sum256(point)
	return sum[:20]
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
