package api

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"

	"lap/db"
)

const (
	idempotencyKey = "Idempotency-Key"
	replayed       = "Idempotent-Replayed" // says that an answer was given before
	maxKey         = 255
)

// once reads the idempotency key of a request, nil when it has none. scope is what the
// key is used on, route names the route: the same body means something else elsewhere.
func once(r *http.Request, scope, route string, body []byte) (*db.Once, error) {
	keys := r.Header.Values(idempotencyKey)
	if len(keys) == 0 {
		return nil, nil
	}
	if len(keys) > 1 || !validKey(keys[0]) {
		return nil, invalid("%s: must be one key of 1 to %d printable ASCII characters", idempotencyKey, maxKey)
	}
	h := sha256.New()
	_, _ = io.WriteString(h, r.Method+"\n"+route+"\n") // a hash takes everything
	_, _ = h.Write(body)
	return &db.Once{Scope: scope, Key: keys[0], Hash: hex.EncodeToString(h.Sum(nil))}, nil
}

func validKey(key string) bool {
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return false
		}
	}
	return key != "" && len(key) <= maxKey
}
