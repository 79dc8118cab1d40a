package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"unicode/utf8"
)

// Limits of request bodies in bytes.
const (
	smallBody   = 1 << 20
	largeBody   = 16 << 20 // agents, skills
	messageBody = 80 << 20 // attachments
)

var (
	errBadJSON  = invalid("invalid JSON body")
	errTooLarge = &requestError{http.StatusRequestEntityTooLarge, "request body too large"}
)

// decode reads a request body of at most limit bytes, which must be a JSON object.
func decode(w http.ResponseWriter, r *http.Request, limit int64) (*object, error) {
	body, err := readBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	return parse(body)
}

// decodeOptional is decode for routes where no body means an empty object.
func decodeOptional(w http.ResponseWriter, r *http.Request, limit int64) (*object, error) {
	body, err := readBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	return parseOptional(body)
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + bytes.MinRead) // so that it never has to grow
	}
	_, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, errTooLarge
	case err != nil: // the body broke off
		return nil, errBadJSON
	}
	return b.Bytes(), nil
}

func parseOptional(body []byte) (*object, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte(`{}`)
	}
	return parse(body)
}

func parse(body []byte) (*object, error) {
	start := skipSpace(body, 0)
	if start == len(body) || body[start] != '{' || !utf8.Valid(body) || !json.Valid(body) {
		return nil, errBadJSON
	}
	return newObject(body[start:], "", -1, &issues{}), nil
}
