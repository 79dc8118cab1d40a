package db

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	sealPrefix = "enc:v1:"
	nonceSize  = 12
	tagSize    = 16
)

// KeySize is the size in bytes of an encryption key.
const KeySize = 32

// ErrUnsealed says that a value was sealed with another key, or damaged.
var ErrUnsealed = errors.New("cannot decrypt: sealed with another key, or damaged")

// A Sealer encrypts values at rest, in the format of the reference platform:
// "enc:v1:" + base64(nonce, 12 bytes | GCM tag, 16 bytes | ciphertext), AES-256-GCM.
type Sealer struct{ aead cipher.AEAD }

// NewSealer returns a Sealer for a key of KeySize bytes.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("encryption key has %d bytes, want %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Sealer{aead: aead}, nil
}

// Seal encrypts text under a fresh random nonce.
func (s *Sealer) Seal(text string) string {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) // never fails
	return s.seal(text, nonce)
}

func (s *Sealer) seal(text string, nonce []byte) string {
	sealed := s.aead.Seal(nil, nonce, []byte(text), nil) // ciphertext, then tag
	body, tag := sealed[:len(sealed)-tagSize], sealed[len(sealed)-tagSize:]
	out := append(append(append([]byte{}, nonce...), tag...), body...)
	return sealPrefix + base64.StdEncoding.EncodeToString(out)
}

// OpenSealed decrypts what Seal made, and nothing else: text from outside. The error is
// ErrUnsealed.
func (s *Sealer) OpenSealed(sealed string) (string, error) {
	if !strings.HasPrefix(sealed, sealPrefix) {
		return "", ErrUnsealed
	}
	return s.Open(sealed)
}

// Open decrypts what Seal made. Text without the prefix is a value from before
// encryption and is returned as it is. The error is ErrUnsealed.
func (s *Sealer) Open(sealed string) (string, error) {
	encoded, ok := strings.CutPrefix(sealed, sealPrefix)
	if !ok {
		return sealed, nil
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) < nonceSize+tagSize {
		return "", ErrUnsealed
	}
	nonce, tag, body := raw[:nonceSize], raw[nonceSize:nonceSize+tagSize], raw[nonceSize+tagSize:]
	text, err := s.aead.Open(nil, nonce, append(append([]byte{}, body...), tag...), nil)
	if err != nil {
		return "", ErrUnsealed
	}
	return string(text), nil
}
