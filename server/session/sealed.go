package session

import (
	"encoding/json"
	"errors"
	"fmt"
)

// A keepsake is what a session's sandbox keeps for lap, sealed, since lap itself stores
// no variable of a session: without it they would be lost with lap's process.
type keepsake struct {
	Session string            `json:"session"` // another's is of no use
	Env     map[string]string `json:"env"`
}

// seal returns the keepsake of a session's own variables; "" without any.
func (e *Engine) seal(sessionID string, env map[string]string) (string, error) {
	if len(env) == 0 {
		return "", nil
	}
	text, err := json.Marshal(keepsake{sessionID, env})
	if err != nil {
		return "", err
	}
	return e.cfg.Sealer.Seal(string(text)), nil
}

// unseal opens a keepsake. What a sandbox gives back may be anything.
func (e *Engine) unseal(sessionID, sealed string) (map[string]string, error) {
	if sealed == "" {
		return nil, errors.New("the sandbox keeps none")
	}
	text, err := e.cfg.Sealer.OpenSealed(sealed)
	if err != nil {
		return nil, err
	}
	var k keepsake
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		return nil, fmt.Errorf("what the sandbox keeps is no JSON: %w", err)
	}
	if k.Session != sessionID {
		return nil, errors.New("what the sandbox keeps is another session's")
	}
	return k.Env, nil
}
