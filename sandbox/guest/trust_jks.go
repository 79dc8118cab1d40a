//go:build linux

package guest

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // it is the format's
	"encoding/binary"
	"errors"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
)

const (
	magicJKS       = "\xfe\xed\xfe\xed"
	trustedCertJKS = 2
)

// isJKS reports whether a text is in Java's own format of key stores.
func isJKS(text []byte) bool { return bytes.HasPrefix(text, []byte(magicJKS)) }

// readJKS returns the trusted certificates of a JKS text, DER. It does not look at the
// checksum, nor at stores that hold keys too, which are not for trust.
func readJKS(text []byte) ([][]byte, error) {
	s := cryptobyte.String(text[len(magicJKS):])
	var version, count uint32
	if !s.ReadUint32(&version) || version != 2 || !s.ReadUint32(&count) {
		return nil, errors.New("no JKS of version 2")
	}
	var all [][]byte
	for range count {
		var tag, size uint32
		var der []byte
		var alias, kind cryptobyte.String
		if !s.ReadUint32(&tag) || tag != trustedCertJKS || !s.ReadUint16LengthPrefixed(&alias) || !s.Skip(8) || // its date
			!s.ReadUint16LengthPrefixed(&kind) || !s.ReadUint32(&size) || !s.ReadBytes(&der, int(size)) {
			return nil, errors.New("no JKS of trusted certificates alone")
		}
		all = append(all, der)
	}
	return all, nil
}

// A trustedCert is one entry of a truststore. JVMs keep one of each name.
type trustedCert struct {
	name string
	der  []byte
}

// writeJKS returns a truststore in Java's own format, which every JVM reads. Unlike PKCS #12 it
// encrypts nothing, and so takes next to no time; password goes into its checksum.
func writeJKS(certs []trustedCert, password string) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddBytes([]byte(magicJKS))
	b.AddUint32(2)
	b.AddUint32(uint32(len(certs)))
	text := func(s string) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
	}
	for _, cert := range certs {
		b.AddUint32(trustedCertJKS)
		text(cert.name)
		b.AddUint64(0) // its date: the same certificates are the same store
		text("X.509")
		b.AddUint32(uint32(len(cert.der)))
		b.AddBytes(cert.der)
	}
	store, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	sum := sha1.New() //nolint:gosec // as above
	for _, unit := range utf16.Encode([]rune(password)) {
		sum.Write(binary.BigEndian.AppendUint16(nil, unit))
	}
	sum.Write([]byte("Mighty Aphrodite")) // so does every JVM
	sum.Write(store)
	return sum.Sum(store), nil
}
