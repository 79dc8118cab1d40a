package audit

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// mark begins every canary, so that those who try to steal one know what to look for.
const mark = "lapcanary-"

// control is the one canary that is no secret: it is put where it must be found.
const control = "control"

// canaries are secrets that nobody else on this machine has, by the names of the places
// where a user could have put them.
type canaries struct {
	text map[string]string // as a user writes it
	core map[string][]byte // what is random of it, which is looked for
}

func newCanaries() *canaries { return &canaries{map[string]string{}, map[string][]byte{}} }

// mint returns a new canary.
func (c *canaries) mint(name string) string {
	core := random(16)
	c.core[name] = []byte(core)
	c.text[name] = mark + name + "-" + core
	return c.text[name]
}

// mintKey returns a canary of as many bytes.
func (c *canaries) mintKey(name string, size int) []byte {
	core := random((size - len(mark)) / 2)
	c.core[name] = []byte(core)
	c.text[name] = mark + core
	return []byte(c.text[name])
}

// add takes in a secret that somebody else has made.
func (c *canaries) add(name string, value []byte) { c.core[name] = value }

// secrets are the names of all but the control, in order.
func (c *canaries) secrets() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c.core)), func(name string) bool { return name == control })
}

// random returns n random bytes in hex.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (c *canaries) String() string { return fmt.Sprintf("%d canaries", len(c.core)) }
