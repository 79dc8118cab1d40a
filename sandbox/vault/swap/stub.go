package swap

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Stub returns what stands for the variable name in the sandbox of session:
// "stub_github_token_db956f5c". It is the same each time, and only who has key can tell it
// beforehand.
func Stub(key []byte, session, name string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(session + "\x00" + name)) // a hash never fails to write
	return "stub_" + slug(name) + "_" + hex.EncodeToString(mac.Sum(nil)[:4])
}

// slug returns name in lower case, each run of what is neither letter nor digit as one
// underscore.
func slug(name string) string {
	var b strings.Builder
	run := false
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		plain := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		switch {
		case plain:
			b.WriteByte(c)
		case !run:
			b.WriteByte('_')
		}
		run = !plain
	}
	return b.String()
}
