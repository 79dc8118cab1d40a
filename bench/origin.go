package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// The hosts that the origin plays. A credential whose name says that it is for Linear goes
// to openedHost and nowhere else, so that connections there are opened.
const (
	openedHost = "api.linear.app"
	passedHost = "passed.example"
)

// An origin is the server that sandboxes reach: over TLS, and in plain HTTP.
type origin struct {
	secure, plain string // ports
	roots         string // file of its certificate, PEM
	servers       []*http.Server
	serving       sync.WaitGroup
}

// newOrigin starts an origin whose certificate is put into dir.
func newOrigin(ctx context.Context, dir string) (*origin, error) {
	o := &origin{roots: filepath.Join(dir, "origin.crt")}
	cert, err := selfSigned(openedHost, passedHost)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(o.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600); err != nil {
		return nil, err
	}
	secure := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if o.secure, err = o.serve(ctx, secure); err != nil {
		return nil, err
	}
	if o.plain, err = o.serve(ctx, nil); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// serve serves on a port of its own; conf nil: in plain HTTP.
func (o *origin) serve(ctx context.Context, conf *tls.Config) (port string, err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{
		Handler: http.HandlerFunc(answer), TLSConfig: conf, ReadHeaderTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0), // clients hang up at will
	}
	o.servers = append(o.servers, srv)
	o.serving.Go(func() { // ends with close
		if conf != nil {
			_ = srv.ServeTLS(l, "", "")
		} else {
			_ = srv.Serve(l)
		}
	})
	_, port, err = net.SplitHostPort(l.Addr().String())
	return port, err
}

func (o *origin) close() error {
	var errs []error
	for _, srv := range o.servers {
		errs = append(errs, srv.Close())
	}
	o.serving.Wait()
	return errors.Join(errs...)
}

// answer takes all that comes, and sends as many bytes as it is asked for.
func answer(w http.ResponseWriter, r *http.Request) {
	piece := make([]byte, 64<<10)
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, piece); err != nil {
		return
	}
	n, err := strconv.ParseInt(r.FormValue("bytes"), 10, 64)
	if err != nil {
		_, _ = io.WriteString(w, "ok")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	copy(piece, bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog. "), len(piece)/45+1))
	for ; n > 0; n -= int64(len(piece)) {
		if _, err := w.Write(piece[:min(n, int64(len(piece)))]); err != nil {
			return
		}
	}
}

// selfSigned is a certificate for some hosts that is an authority of its own.
func selfSigned(hosts ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lap bench"}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
