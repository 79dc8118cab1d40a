package server

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// systemBundles are where Linux distributions and others keep the certificates that all
// programs trust.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
}

// maxAdded is how many certificates SSL_CERT_FILE may add to the system's for sandboxes. A
// file with more is a bundle of its own of the world's authorities, which images have, too.
const maxAdded = 64

// addedAuthorities returns the certificates of a file that the system does not have, PEM:
// those of a company's proxy, say, whose certificates sandboxes see where lap does not open
// their connections.
func addedAuthorities(file string) ([]byte, error) {
	if slices.Contains(systemBundles, file) { // to compare it with itself takes some milliseconds
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("SSL_CERT_FILE: %w", err)
	}
	known, err := systemAuthorities()
	if err != nil {
		return nil, err
	}
	var added bytes.Buffer
	n := 0
	for cert := range certificates(text) {
		if known[string(cert.Bytes)] {
			continue
		}
		if n++; n > maxAdded {
			return nil, nil
		}
		if err := pem.Encode(&added, &pem.Block{Type: cert.Type, Bytes: cert.Bytes}); err != nil {
			return nil, err
		}
	}
	return added.Bytes(), nil
}

// systemAuthorities returns the certificates that the system trusts, by their DER.
func systemAuthorities() (map[string]bool, error) {
	known := map[string]bool{}
	for _, file := range systemBundles {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		for cert := range certificates(text) {
			known[string(cert.Bytes)] = true
		}
	}
	return known, nil
}

// certificates goes through the certificates in a PEM text.
func certificates(text []byte) func(yield func(*pem.Block) bool) {
	return func(yield func(*pem.Block) bool) {
		for {
			var block *pem.Block
			if block, text = pem.Decode(text); block == nil {
				return
			}
			if block.Type == "CERTIFICATE" && !yield(block) {
				return
			}
		}
	}
}
