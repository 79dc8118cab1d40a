//go:build linux

package guest

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	// newBundle is made in images that have none, with the authorities that browsers trust: it
	// takes the place of those that tools bring along. It is where Debian and Alpine make theirs
	// once they are told to install one, from the anchors too.
	newBundle = "/etc/ssl/certs/ca-certificates.crt"
	// ownBundle stands in for bundles that cannot be written.
	ownBundle = "/var/lib/lap/ca-bundle.crt"
)

// bundles are where systems have theirs.
var bundles = []string{
	newBundle,                          // Debian, Alpine, Arch
	"/etc/pki/tls/certs/ca-bundle.crt", // Fedora
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/ca-bundle.pem", // SUSE
	"/etc/ssl/cert.pem",      // Alpine's LibreSSL
}

// findBundle returns the first of the bundles that is there, "" when none is.
func (t *trusting) findBundle() string {
	for _, path := range bundles {
		if _, err := os.Stat(t.at(path)); err == nil {
			return path
		}
	}
	return ""
}

// worldAuthorities are the authorities that browsers trust, as a PEM text.
func worldAuthorities() []byte {
	var text []byte
	for root := range bundle.Roots() {
		if root.Constraint == nil { // a constraint cannot be told in a bundle
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})...)
		}
	}
	return text
}

// addToBundles adds the certificates to the system's bundles, and returns one that has them;
// none is "". The error is for bundles without it.
func (t *trusting) addToBundles() (string, error) {
	var added string
	var roots []byte
	var errs []error
	for _, path := range bundles {
		text, err := readFile(t.at(path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			roots = text
			err = t.keep(path, t.withOwn(text))
		}
		if err != nil {
			errs = append(errs, err)
		} else if added == "" {
			added = path
		}
	}
	if added != "" {
		return added, errors.Join(errs...)
	}
	if roots == nil {
		err := t.keep(newBundle, t.withOwn(worldAuthorities()))
		if err == nil {
			return newBundle, errors.Join(errs...)
		}
		errs = append(errs, err)
	}
	if err := t.keep(ownBundle, t.withOwn(roots)); err != nil {
		return "", errors.Join(append(errs, err)...)
	}
	return ownBundle, errors.Join(errs...)
}

// withOwn returns a bundle with the certificates, and without those that were before them.
func (t *trusting) withOwn(bundle []byte) []byte {
	bundle = slices.Clone(bundle)
	for _, cert := range t.before {
		bundle = bytes.ReplaceAll(bundle, encodeCertificate(cert), nil)
	}
	for _, cert := range t.certs {
		text := encodeCertificate(cert)
		if bytes.Contains(bundle, bytes.TrimSpace(text)) {
			continue
		}
		if len(bundle) > 0 && !bytes.HasSuffix(bundle, []byte("\n")) {
			bundle = append(bundle, '\n') // two blocks on one line are none
		}
		bundle = append(bundle, text...)
	}
	return bundle
}
