package swap

import (
	"net/http"
	"strings"
)

// A media is a kind of body, as far as its escaping is concerned.
type media int

const (
	binary media = iota
	form
	jsonish
	text
	untyped
	multipart
)

var textTypes = map[string]media{
	"":                                  untyped,
	"application/ecmascript":            text,
	"application/graphql":               text,
	"application/javascript":            text,
	"application/json":                  jsonish,
	"application/json-seq":              jsonish,
	"application/jsonl":                 jsonish,
	"application/jsonlines":             jsonish,
	"application/ndjson":                jsonish,
	"application/x-javascript":          text,
	"application/x-jsonlines":           jsonish,
	"application/x-ndjson":              jsonish,
	"application/x-www-form-urlencoded": form,
	"application/x-yaml":                text,
	"application/xml":                   text,
	"application/yaml":                  text,
	"text/json":                         jsonish,
}

// mediaOf returns the kind of the body under h, and its type as the header names it.
func mediaOf(h http.Header) (media, string) {
	raw, _, _ := strings.Cut(h.Get("Content-Type"), ";") // parameters may be malformed
	name := strings.ToLower(strings.TrimSpace(raw))
	if kind, ok := textTypes[name]; ok {
		return kind, name
	}
	switch {
	case strings.HasSuffix(name, "+json"):
		return jsonish, name
	case strings.HasSuffix(name, "+xml"), strings.HasPrefix(name, "text/"):
		return text, name
	case strings.HasPrefix(name, "multipart/"):
		return multipart, name
	}
	return binary, name
}

// encodings returns the content encodings under h, without identity.
func encodings(h http.Header) []string {
	var list []string
	for _, line := range h.Values("Content-Encoding") {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.ToLower(strings.TrimSpace(name))
			if name != "" && name != "identity" {
				list = append(list, name)
			}
		}
	}
	return list
}
