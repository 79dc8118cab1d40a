package db_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"lap/db"
)

func TestSealVectors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"text", "hello", "enc:v1:AgICAgICAgICAgICAmMLWe3wPncMnAOGi/c67W+zpSUl"},
		{"empty", "", "enc:v1:AgICAgICAgICAgICsTR+mLiGTktdc10WXbtcOw=="},
	}
	s := sealer(t, 1)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := s.SealWith(tt.text, bytes.Repeat([]byte{2}, 12)); got != tt.want {
				t.Errorf("sealed = %s, want %s", got, tt.want)
			}
			if got, err := s.Open(tt.want); got != tt.text || err != nil {
				t.Errorf("opened = %q, %v, want %q", got, err, tt.text)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	s := sealer(t, 1)
	sealed := s.Seal("secret")
	tests := []struct {
		name, sealed, want string
		err                error
	}{
		{"plain text from before encryption", "plain", "plain", nil},
		{"nothing", "", "", nil},
		{"sealed", sealed, "secret", nil},
		{"sealed with another key", sealer(t, 2).Seal("secret"), "", db.ErrUnsealed},
		{"cut", sealed[:20], "", db.ErrUnsealed},
		{"no base64", "enc:v1:!!!", "", db.ErrUnsealed},
		{"changed", sealed[:len(sealed)-8] + "AAAAAAA=", "", db.ErrUnsealed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.Open(tt.sealed)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("opened = %q, %v, want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
	if s.Seal("secret") == sealed {
		t.Error("sealed the same twice: the nonce is not random")
	}
}

func TestSealerKeySize(t *testing.T) {
	for _, size := range []int{0, 16, 31, 33} {
		if _, err := db.NewSealer(make([]byte, size)); err == nil {
			t.Errorf("a key of %d bytes is accepted", size)
		}
	}
}

func TestSecretsAreSealedAtRest(t *testing.T) {
	const secret, pip = "plaintext-value-4711", "private-package-0815"
	cfg := config(t)
	s := openStore(t, cfg)
	requirements := pip
	a, err := s.CreateAgent(t.Context(), db.Agent{
		Model: "gpt", HarnessID: "lap", Branch: "main", Requirements: &requirements,
		Env: map[string]string{"TOKEN": secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.UpdateAgent(t.Context(), a.ID, func(a *db.Agent) error {
		a.SetEnv(map[string]string{"TOKEN": secret + "2", "OTHER": secret})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(cfg.Path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{secret, pip} {
			if bytes.Contains(raw, []byte(text)) {
				t.Errorf("%s%s contains %s", cfg.Path, suffix, text)
			}
		}
		if suffix == "-wal" && !strings.Contains(string(raw), "enc:v1:") {
			t.Error("nothing sealed in the log: the test looks at the wrong file")
		}
	}
}
