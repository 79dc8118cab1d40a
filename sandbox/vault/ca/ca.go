// Package ca is the certificate authority of an installation of lap. Its key never leaves
// the host; its certificate is trusted in the installation's own sandboxes and nowhere else.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// An Authority makes certificates for hosts whose connections are opened.
type Authority struct {
	now   func() time.Time
	cert  *x509.Certificate
	key   crypto.Signer
	text  string // the certificate, PEM
	leafs *leafs

	// leafKey is the key of every leaf. They all end in this process, so that one key
	// each would protect nothing more and only cost time.
	leafKey *ecdsa.PrivateKey
}

// Open reads the authority from two PEM files, or makes both when neither is there: the
// key with mode 0600. They may be the user's own: a root certificate with an EC or RSA
// key, in PKCS#8, SEC 1 or PKCS#1. A key of this user that others can read is closed to
// them. The error names the file and what to do.
func Open(certFile, keyFile string) (*Authority, error) { return open(certFile, keyFile, time.Now) }

func open(certFile, keyFile string, now func() time.Time) (*Authority, error) {
	f := files{cert: certFile, key: keyFile}
	missing, err := f.missing()
	if err != nil {
		return nil, err
	}
	if missing {
		if err := f.make(now()); err != nil {
			return nil, fmt.Errorf("make a certificate authority: %w", err)
		}
	}
	cert, key, err := f.read(now())
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, f.advice())
	}
	return newAuthority(cert, key, now)
}

// New makes an authority that is kept in no file: it ends with the process.
func New() (*Authority, error) {
	certText, keyText, err := generate(time.Now())
	if err != nil {
		return nil, err
	}
	cert, err := parseCertificate(certText)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyText)
	if err != nil {
		return nil, err
	}
	return newAuthority(cert, key, time.Now)
}

func newAuthority(cert *x509.Certificate, key crypto.Signer, now func() time.Time) (*Authority, error) {
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Authority{
		now: now, cert: cert, key: key, leafKey: leafKey, leafs: newLeafs(),
		text: string(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: cert.Raw})),
	}, nil
}

// Certificate is the authority's own certificate, PEM.
func (a *Authority) Certificate() string { return a.text }

// Leaf returns a certificate for a host, which is a name or an address, without port. It
// is good for at least half an hour, but never longer than the authority. Leaf may be
// called at once from several goroutines, and remembers the 1024 hosts used last. The
// error is that the host is none, or that the authority has expired.
func (a *Authority) Leaf(host string) (*tls.Certificate, error) {
	host, err := normalize(host)
	if err != nil {
		return nil, err
	}
	now := a.now()
	if !now.Before(a.cert.NotAfter) {
		return nil, errors.New("lap's certificate authority has expired: start lap again for what to do")
	}
	return a.leafs.find(host, now, func() (*tls.Certificate, error) { return a.sign(host, now) })
}

// Config is how a server that plays host talks TLS. Its certificate is for that host,
// whatever name the client asks for: the proxy has judged host, and nothing else.
func (a *Authority) Config(host string) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.Leaf(host) },
		// Small records are for packets that get lost, and a pipe loses none.
		DynamicRecordSizingDisabled: true,
	}
}
