//go:build linux

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// addAnchors puts the certificates where the tools find them that make bundles anew: each in
// a file of its own, since those leave out files with several.
func (t *trusting) addAnchors() error {
	var errs []error
	for _, dir := range []struct{ path, when string }{
		{"/usr/local/share/ca-certificates", "/"}, // Debian, Alpine, before they have the tool as well
		{"/etc/pki/ca-trust/source/anchors", "/etc/pki"},
		{"/usr/share/pki/trust/anchors", "/usr/share/pki/trust/anchors"}, // SUSE
		{"/etc/pki/trust/anchors", "/etc/pki/trust/anchors"},
		{"/etc/ca-certificates/trust-source/anchors", "/etc/ca-certificates/trust-source"}, // Arch
	} {
		if _, err := os.Stat(t.at(dir.when)); err == nil {
			errs = append(errs, t.addAnchorsTo(dir.path))
		}
	}
	return errors.Join(errs...)
}

func (t *trusting) addAnchorsTo(dir string) error {
	var errs []error
	for i, cert := range t.certs {
		errs = append(errs, t.keep(dir+"/"+numbered("lap", i)+".crt", encodeCertificate(cert)))
	}
	for i := len(t.certs); ; i++ { // an earlier boot may have had more
		err := os.Remove(t.at(dir + "/" + numbered("lap", i) + ".crt"))
		if errors.Is(err, fs.ErrNotExist) {
			return errors.Join(errs...)
		}
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
}

// numbered returns a name of its own for the certificate with an index.
func numbered(name string, i int) string {
	if i == 0 {
		return name
	}
	return name + "-" + strconv.Itoa(i+1)
}

// maxHashed bounds the certificates whose names have one hash.
const maxHashed = 16

// addHashed links the certificates in the directory that OpenSSL looks into for the hash of
// an authority's name. The file may have several. Images without one need none.
func (t *trusting) addHashed() error {
	dir, err := filepath.EvalSymlinks(t.at("/etc/ssl/certs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	target, err := filepath.Rel(dir, t.at(ownCertificate))
	if err != nil {
		return err
	}
	present := map[string]bool{}
	for _, cert := range t.certs {
		hash, err := nameHash(cert.RawSubject)
		if err != nil {
			return err
		}
		present[hash] = true
		if err := linkHashed(dir, hash, target, encodeCertificate(cert)); err != nil {
			return err
		}
	}
	return t.removeHashed(dir, target, present)
}

// linkHashed links a certificate under a hash, unless that is so already.
func linkHashed(dir, hash, target string, text []byte) error {
	for n := range maxHashed {
		path := filepath.Join(dir, fmt.Sprintf("%s.%d", hash, n))
		if to, _ := os.Readlink(path); to == target {
			return nil
		}
		if is, err := readFile(path); err == nil && bytes.Equal(bytes.TrimSpace(is), bytes.TrimSpace(text)) {
			return nil // the system's own tool has linked the anchor
		}
		if err := os.Symlink(target, path); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("%d certificates have the hash %s already", maxHashed, hash)
}

// removeHashed takes the links of certificates away that were trusted before, when none of
// the present ones has their hash.
func (t *trusting) removeHashed(dir, target string, present map[string]bool) error {
	for _, cert := range t.before {
		hash, err := nameHash(cert.RawSubject)
		if err != nil {
			return err
		}
		for n := range maxHashed {
			path := filepath.Join(dir, fmt.Sprintf("%s.%d", hash, n))
			if to, _ := os.Readlink(path); to != target || present[hash] {
				continue
			}
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}
