//go:build linux

package guest

import (
	"io"
	"log/slog"
)

// TrustIn is what a boot does about a certificate in the file system at root.
func TrustIn(root, certificate string, env map[string]string, stderr io.Writer) error {
	return trustIn(root, certificate, env, slog.New(slog.NewTextHandler(stderr, nil)))
}

// NameHash is the hash of a name, DER.
func NameHash(name []byte) (string, error) { return nameHash(name) }

// ReadJKS returns the certificates of a truststore in Java's own format, DER.
func ReadJKS(text []byte) ([][]byte, error) { return readJKS(text) }
