package ca

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// files are where an authority is kept.
type files struct{ cert, key string }

// advice is what to do about files that are of no use.
func (f files) advice() string {
	return fmt.Sprintf("repair it, or remove both %s and %s to make new ones (running sandboxes then need a restart)", f.cert, f.key)
}

// missing reports whether neither file is there. Only one of them is an error.
func (f files) missing() (bool, error) {
	cert, err := exists(f.cert)
	if err != nil {
		return false, err
	}
	key, err := exists(f.key)
	switch {
	case err != nil:
		return false, err
	case cert && !key:
		return false, fmt.Errorf("%s is missing, the key of %s: restore it, or remove the certificate to make both anew (running sandboxes then need a restart)", f.key, f.cert)
	case key && !cert:
		return false, fmt.Errorf("%s is missing, the certificate of %s: restore it, or remove the key to make both anew (running sandboxes then need a restart)", f.cert, f.key)
	}
	return !cert, nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// make writes a new authority. The key comes first: a certificate without one would be
// trusted for nothing.
func (f files) make(now time.Time) error {
	cert, key, err := generate(now)
	if err != nil {
		return err
	}
	if err := write(f.key, key, 0o600); err != nil {
		return err
	}
	return write(f.cert, cert, 0o644)
}

// write makes the file whole or not at all, and lasting.
func write(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// read returns what the files hold once it is fit for use.
func (f files) read(now time.Time) (*x509.Certificate, crypto.Signer, error) {
	text, err := os.ReadFile(f.cert)
	if err != nil {
		return nil, nil, err
	}
	cert, err := parseCertificate(text)
	if err == nil {
		err = checkCertificate(cert, now)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.cert, err)
	}
	if text, err = readKey(f.key); err != nil {
		return nil, nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.key, err)
	}
	if !samePublic(cert, key) {
		return nil, nil, fmt.Errorf("%s is not the key of %s", f.key, f.cert)
	}
	return cert, key, nil
}

// readKey reads the key file, for the eyes of this user only. A key that is lent by
// another user can be so through its group.
func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	mode := info.Mode().Perm()
	own := false
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		own = int(stat.Uid) == os.Geteuid()
	}
	switch {
	case own && mode&0o077 != 0:
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, fmt.Errorf("others can read the key, and lap cannot change that: %w", err)
		}
	case !own && mode&0o007 != 0:
		return nil, fmt.Errorf("%s belongs to another user, and everybody can read the key: chmod o= %s", path, path)
	}
	return os.ReadFile(path)
}
