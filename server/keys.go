package server

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"lap/db"
)

// Names inside the data directory.
const (
	databaseFile  = "lap.db"
	masterKeyFile = "master.key"
	caCertFile    = "ca.crt"
	caKeyFile     = "ca.key"
	sealKeyFile   = "secret.key"
	lockFile      = "lock"
	scriptsDir    = "scripts"
	cassettesDir  = "cassettes"
	mirrorsDir    = "mirrors"
)

// publicKeyLength is what a master key needs at least where strangers can try it.
const publicKeyLength = 16

// masterKey is the given key, or the one kept in the data directory, made when there
// is none.
func masterKey(s Settings) (string, error) {
	key := s.MasterKey
	if key == "" {
		var err error
		key, err = keep(filepath.Join(s.DataDir, masterKeyFile), newMasterKey)
		if err != nil {
			return "", err
		}
	}
	if !loopback(s.Listen) && len([]rune(key)) < publicKeyLength {
		return "", fmt.Errorf("MASTER_KEY has fewer than %d characters, too few to listen on %s: choose a longer key, or listen on 127.0.0.1", publicKeyLength, s.Listen)
	}
	return key, nil
}

// newMasterKey makes a key that nobody guesses.
func newMasterKey() string { return "sk-lap-" + hex.EncodeToString(randomBytes(20)) }

// loopback reports whether only this machine can reach an address.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// sealKey is the given encryption key, or the one kept in the data directory.
func sealKey(s Settings) ([]byte, error) {
	key := s.EncryptionKey
	if key == nil {
		path := filepath.Join(s.DataDir, sealKeyFile)
		text, err := keep(path, func() string { return base64.StdEncoding.EncodeToString(randomBytes(db.KeySize)) })
		if err != nil {
			return nil, err
		}
		if key, err = base64.StdEncoding.DecodeString(text); err != nil || len(key) != db.KeySize {
			return nil, fmt.Errorf("%s is damaged: restore it from a backup; without it stored env_vars are lost", path)
		}
	}
	return key, nil
}

// tokenKey signs agent tokens. It is never the master key itself.
func tokenKey(s Settings, master string) ([]byte, error) {
	if s.TokenKey != "" {
		return []byte(s.TokenKey), nil
	}
	return hkdf.Key(sha256.New, []byte(master), nil, "lap agent tokens v1", 32)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// keep returns the text of a key file, made with mode 0600 when it is not there.
func keep(path string, generate func() string) (string, error) {
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		if text := strings.TrimSpace(string(b)); text != "" {
			return text, os.Chmod(path, 0o600)
		}
		return "", fmt.Errorf("%s is empty: restore it, or remove it to make a new key", path)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	text := generate()
	return text, writeKey(path, text)
}

// writeKey makes the file whole or not at all: a crash must not leave an empty key.
func writeKey(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
