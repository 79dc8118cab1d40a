//go:build linux

package guest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// installed is what the sandbox's files have already, as digests. It outlives this
// process, as they do.
type installed struct {
	Requirements string          `json:"requirements"`
	Setup        map[string]bool `json:"setup"`
}

// readInstalled reads what was installed before. A record that cannot be read is none:
// to install again is safe.
func (g *Guest) readInstalled() installed {
	in := installed{}
	text, err := os.ReadFile(g.installedPath())
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.log.Warn("what was installed before is not known", "err", err)
		in = installed{}
	}
	if in.Setup == nil {
		in.Setup = map[string]bool{}
	}
	return in
}

func (g *Guest) keepInstalled(in installed) error {
	text, err := json.Marshal(in)
	if err == nil {
		err = writeFile(g.installedPath(), bytes.NewReader(text), 0o600)
	}
	if err != nil {
		return fmt.Errorf("note what is installed: %w", err)
	}
	return nil
}

func (g *Guest) installedPath() string {
	return filepath.Join(filepath.Dir(g.places.record), "installed.json")
}

// digest tells texts from others.
func digest(texts ...string) string {
	b, err := json.Marshal(texts)
	if err != nil {
		panic(err) // strings always encode
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
