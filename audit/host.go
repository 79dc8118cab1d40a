package audit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"
)

// Names of the hosts that sandboxes can reach, all of them on loopback.
const (
	boundHost    = "bound.lapaudit.test"    // credentials are bound to it
	secureHost   = "secure.lapaudit.test"   // the same over TLS
	strangerHost = "stranger.lapaudit.test" // none is bound to it
)

// A host is an HTTP server on loopback that keeps all that it is sent.
type host struct {
	addr string
	srv  *http.Server

	mu   sync.Mutex // guards seen
	seen bytes.Buffer
}

// listen starts a host. cert: it speaks TLS.
func listen(ctx context.Context, handler http.Handler, cert *tls.Certificate) (*host, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &host{addr: ln.Addr().String()}
	h.srv = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if dump, err := httputil.DumpRequest(r, true); err == nil {
			h.keep(dump)
		}
		handler.ServeHTTP(w, r)
	})}
	if cert != nil {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12})
	}
	go func() { _ = h.srv.Serve(ln) }() // until close
	return h, nil
}

func (h *host) keep(dump []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen.Write(dump)
}

// saw is all that the host was sent.
func (h *host) saw() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Clone(h.seen.Bytes())
}

func (h *host) close() error {
	if h == nil {
		return nil
	}
	return h.srv.Close()
}

// selfSigned returns a certificate for name that is its own authority, and its PEM.
func selfSigned(name string) (*tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// authorityKey is the secret number of a private key in PEM.
func authorityKey(text []byte) ([]byte, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the key of lap's certificate authority is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key of lap's certificate authority is of another kind than lap makes")
	}
	return ec.Bytes()
}
