package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"time"
)

const (
	authorityYears = 10
	skew           = time.Hour // that a client's clock may be late
)

// generate makes an authority: its certificate and its key, PEM.
func generate(now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	// The name differs for each, since clients tell authorities apart by it.
	name := make([]byte, 4)
	rand.Read(name) // never fails
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "lap " + hex.EncodeToString(name), Organization: []string{"lap"}},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.AddDate(authorityYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		SubjectKeyId:          keyID(&private.PublicKey),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: pkcs8}), nil
}

// serial is a random positive number of 128 bits. Its first bit is set, so that it has
// always the same length.
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[0] |= 0x80
	return new(big.Int).SetBytes(b)
}
