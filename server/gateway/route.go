package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// routes are the calls that are let through, below /v1 or not; * is one segment. They
// ask models something, or speak of what a caller itself made. Whatever else a gateway
// can do (keys, users, budgets, configuration, others' files and batches) is not for a
// sandbox: the real key may be an administrator's.
var routes = []struct{ method, path string }{
	{http.MethodPost, "chat/completions"},
	{http.MethodPost, "completions"},
	{http.MethodPost, "messages"},
	{http.MethodPost, "messages/count_tokens"},
	{http.MethodPost, "responses"},
	{http.MethodPost, "responses/compact"},
	{http.MethodPost, "responses/input_tokens"},
	{http.MethodPost, "responses/*/cancel"},
	{http.MethodGet, "responses/*/input_items"},
	{http.MethodGet, "responses/*"},
	{http.MethodDelete, "responses/*"},
	{http.MethodPost, "embeddings"},
	{http.MethodPost, "moderations"},
	{http.MethodPost, "rerank"},
	{http.MethodPost, "images/generations"},
	{http.MethodPost, "images/edits"},
	{http.MethodPost, "images/variations"},
	{http.MethodPost, "audio/speech"},
	{http.MethodPost, "audio/transcriptions"},
	{http.MethodPost, "audio/translations"},
	{http.MethodGet, "model/info"},
	{http.MethodGet, "models"},
	{http.MethodGet, "models/*"},
	{http.MethodGet, "models/*/*"},
	{http.MethodGet, "models/*/*/*"},
	{http.MethodPost, "models/*:*"},
	{http.MethodPost, "models/*/*:*"},
	{http.MethodGet, "v1beta/models"},
	{http.MethodGet, "v1beta/models/*"},
	{http.MethodGet, "v1beta/models/*/*"},
	{http.MethodPost, "v1beta/models/*:*"},
	{http.MethodPost, "v1beta/models/*/*:*"},
}

// uploads take multipart forms, which are streamed through unread.
var uploads = []string{"audio/transcriptions", "audio/translations", "images/edits", "images/variations"}

// plainPath has neither escapes nor empty segments, so that nobody on the way can read
// it in another way than here. Dot segments are looked for apart.
var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9._~:@+-]+)+$`)

// target is a call that is let through.
type target struct {
	path    string   // without /v1
	query   string   // without keys
	keyed   bool     // the query had a key
	upload  bool     // the body may be a multipart form
	gemini  bool     // the path starts with v1beta
	models  []string // that path and query name
	asAsked string
}

func (t target) String() string { return t.asAsked }

// route decides by the request line and headers whether a call is let through.
func route(r *http.Request) (target, error) {
	asked, query, _ := strings.Cut(r.RequestURI, "?")
	if r.Header.Get("Upgrade") != "" || r.URL.Host != "" || !isPlain(asked) {
		return target{}, forbidden(r.Method, asked)
	}
	t := target{path: strings.TrimPrefix(asked[1:], "v1/"), asAsked: asked}
	var allowed []string
	for _, row := range routes {
		if fits, _ := path.Match(row.path, t.path); fits { // the patterns are well formed
			allowed = append(allowed, row.method)
		}
	}
	switch {
	case len(allowed) == 0:
		return target{}, forbidden(r.Method, asked)
	case !slices.Contains(allowed, r.Method):
		return target{}, &apiError{
			Status: http.StatusMethodNotAllowed, Type: "invalid_request_error", Code: "method_not_allowed",
			Message: fmt.Sprintf("%s takes %s, not %s", clip(asked), strings.Join(allowed, " or "), clip(r.Method)),
		}
	}
	t.upload = slices.Contains(uploads, t.path)
	t.gemini = strings.HasPrefix(t.path, "v1beta/")
	t.readQuery(query)
	if _, name, ok := strings.Cut(t.path, "models/"); ok {
		name, _, _ = strings.Cut(name, ":")
		t.models = append(t.models, name)
	}
	return t, nil
}

func isPlain(p string) bool {
	if !plainPath.MatchString(p) {
		return false
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// keyParameters are query parameters that carry keys.
var keyParameters = []string{"key", "api_key", "api-key", "apikey", "access_token"}

// readQuery keeps the parameters as they are written, but for keys and what not every
// reader splits in the same way.
func (t *target) readQuery(raw string) {
	var kept []string
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, badName := url.QueryUnescape(name)
		value, badValue := url.QueryUnescape(value)
		switch {
		case pair == "" || badName != nil || badValue != nil || strings.ContainsAny(pair, ";#"):
			continue
		case slices.Contains(keyParameters, strings.ToLower(name)):
			t.keyed = true
			continue
		case strings.EqualFold(name, "model"):
			t.models = append(t.models, value)
		}
		kept = append(kept, pair)
	}
	t.query = strings.Join(kept, "&")
}
