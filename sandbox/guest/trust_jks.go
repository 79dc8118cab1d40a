//go:build linux

package guest

import (
	"bytes"
	"errors"

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
