//go:build linux

package guest

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ownCertificate is where lap's certificates are, alone.
const ownCertificate = "/var/lib/lap/ca.crt"

// trust makes the sandbox trust certificate authorities, and sets in env what toolchains
// need that do not look into the system's store. That wins over what the user has set:
// the other bundle does not have these authorities. Nothing is done without certificates.
//
// It finds the file system as it is: an earlier boot may have made other authorities
// trusted, which they no longer are then. What an image has no room for is logged; the error
// is that there is no certificate, or that not even a copy of them can be written.
func (g *Guest) trust(certificates string, env environment) error {
	if certificates == "" {
		return nil
	}
	return trustIn(g.places.root, certificates, env, g.log)
}

// trustIn is trust for the file system at root.
func trustIn(root, certificates string, env environment, log *slog.Logger) error {
	t := trusting{root: root}
	if err := t.load(certificates); err != nil {
		return err
	}
	var java string
	var others sync.WaitGroup // most of the time goes into waiting for the file system
	addJava := func(bundle string) {
		options, err := t.addToJava(bundle, env["JAVA_HOME"])
		warn(log, "java", err)
		java = options
	}
	before := t.findBundle()
	if before != "" {
		others.Go(func() { addJava(before) }) // whether it reads it with lap's or without
	}
	bundle, err := t.addToBundles()
	warn(log, "bundles", err)
	others.Go(func() { warn(log, "anchors", t.addAnchors()) })
	others.Go(func() { warn(log, "hashed directory", t.addHashed()) })
	others.Go(func() { warn(log, "browsers", t.addPolicies()) })
	if before == "" {
		addJava(bundle)
	}
	others.Wait()
	if java != "" {
		env["JAVA_TOOL_OPTIONS"] = strings.TrimSpace(env["JAVA_TOOL_OPTIONS"] + " " + java)
	}
	for _, name := range []string{
		"SSL_CERT_FILE", // OpenSSL, Go, Ruby, Python, uv
		"REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE",
		"CARGO_HTTP_CAINFO", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NIX_SSL_CERT_FILE",
	} {
		if bundle != "" {
			env[name] = bundle
		}
	}
	for _, name := range []string{"NODE_EXTRA_CA_CERTS", "DENO_CERT"} { // these add
		env[name] = ownCertificate
	}
	// This comes last: what it held tells a boot that was cut short what to take away.
	return t.keep(ownCertificate, t.text())
}

func warn(log *slog.Logger, where string, err error) {
	if err != nil {
		log.Warn("lap's certificate is not trusted everywhere", "where", where, "err", err)
	}
}

// trusting is the work on one file system. Its paths are those inside of the sandbox.
type trusting struct {
	root   string
	certs  []*x509.Certificate // each once
	before []*x509.Certificate // those trusted so far that are not among certs
}

// load reads the certificates to trust, and those that were.
func (t *trusting) load(certificates string) error {
	var err error
	if t.certs, err = parseCertificates([]byte(certificates)); err != nil {
		return err
	}
	old, err := readFile(t.at(ownCertificate))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	before, err := parseCertificates(old)
	if err != nil { // somebody has damaged it
		return nil //nolint:nilerr // there is nothing to take away then
	}
	for _, cert := range before {
		if !slices.ContainsFunc(t.certs, cert.Equal) {
			t.before = append(t.before, cert)
		}
	}
	return nil
}

func (t *trusting) at(path string) string { return filepath.Join(t.root, path) }

// keep makes text the file path, with the mode that it has. What is so already stays.
func (t *trusting) keep(path string, text []byte) error {
	if is, err := readFile(t.at(path)); err == nil && bytes.Equal(is, text) {
		return nil
	}
	return writeFile(t.at(path), bytes.NewReader(text), 0)
}

// text is all certificates, PEM.
func (t *trusting) text() []byte {
	var all []byte
	for _, cert := range t.certs {
		all = append(all, encodeCertificate(cert)...)
	}
	return all
}

// parseCertificates returns the certificates in a PEM text, without those that Go does not
// take. The error is that there is none.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	none := errors.New("no PEM text of a certificate")
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			none = fmt.Errorf("certificate: %w", err)
			continue
		}
		if !slices.ContainsFunc(all, cert.Equal) {
			all = append(all, cert)
		}
	}
	if len(all) == 0 {
		return nil, none
	}
	return all, nil
}

// encodeCertificate returns a certificate as PEM, as every tool writes it.
func encodeCertificate(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
