package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// kindAccess is the kind of the tokens that routes accept.
const kindAccess = "access"

// claims is what an agent token says. Times are Unix seconds.
type claims struct {
	Kind    string   `json:"kind"`
	AgentID string   `json:"agent_id"`
	Scope   []string `json:"scope"`
	Iat     *float64 `json:"iat"`
	Exp     *float64 `json:"exp"`
	Pod     *string  `json:"pod"` // the session the token was made for
}

// parseToken returns the claims of a token, base64url(claims) + "." +
// base64url(HMAC-SHA256 of the first segment), when it is signed with key and has not
// expired.
func parseToken(key []byte, token string, now time.Time) (claims, bool) {
	payload, signature, ok := strings.Cut(token, ".")
	if !ok || len(key) == 0 {
		return claims{}, false
	}
	given, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil {
		return claims{}, false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(payload))
	if !hmac.Equal(given, mac.Sum(nil)) {
		return claims{}, false
	}
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return claims{}, false
	}
	var c claims
	if json.Unmarshal(text, &c) != nil || !c.complete() {
		return claims{}, false
	}
	return c, *c.Exp > float64(now.UnixMilli())/1000
}

func (c claims) complete() bool {
	return c.Kind != "" && c.AgentID != "" && c.Scope != nil && c.Iat != nil && c.Exp != nil
}
