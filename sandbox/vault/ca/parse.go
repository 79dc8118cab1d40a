package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY" // PKCS#8
)

// parseCertificate returns the first certificate of a PEM text.
func parseCertificate(text []byte) (*x509.Certificate, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == certificateBlock {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("holds no PEM certificate")
}

// checkCertificate says why cert cannot be the authority.
func checkCertificate(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("has expired on %s", cert.NotAfter.Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("is valid only from %s on: is the clock right?", cert.NotBefore.Format(time.RFC3339))
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return errors.New("is not the certificate of an authority (CA:TRUE)")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("may not sign certificates (keyCertSign)")
	case !bytes.Equal(cert.RawSubject, cert.RawIssuer): // OpenSSL trusts roots only
		return errors.New("is not a root: another authority has signed it")
	}
	return nil
}

// parseKey returns the first private key of a PEM text.
func parseKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, errors.New("is encrypted, which lap cannot read")
		case strings.HasSuffix(block.Type, keyBlock): // openssl puts EC PARAMETERS before it
			return parseKeyBlock(block)
		}
	}
	return nil, errors.New("holds no PEM private key")
}

func parseKeyBlock(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, err
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return key, nil
	case *rsa.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("is a key of the type %T: not every client takes other ones than EC and RSA", key)
}

// samePublic reports whether key is that of cert.
func samePublic(cert *x509.Certificate, key crypto.Signer) bool {
	public, ok := key.Public().(interface {
		Equal(other crypto.PublicKey) bool
	})
	return ok && public.Equal(cert.PublicKey)
}
