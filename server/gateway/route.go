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
var routes = []struct {
	method, path string
	form         form
}{
	{http.MethodPost, "chat/completions", formOpenAI},
	{http.MethodPost, "completions", formOpenAI},
	{http.MethodPost, "messages", formAnthropic},
	{http.MethodPost, "messages/count_tokens", free},
	{http.MethodPost, "responses", formOpenAI},
	{http.MethodPost, "responses/compact", formOpenAI},
	{http.MethodPost, "responses/input_tokens", free},
	{http.MethodPost, "responses/*/cancel", free},
	{http.MethodGet, "responses/*/input_items", free},
	{http.MethodGet, "responses/*", free},
	{http.MethodDelete, "responses/*", free},
	{http.MethodPost, "embeddings", formOpenAI},
	{http.MethodPost, "moderations", formOpenAI},
	{http.MethodPost, "rerank", formOpenAI},
	{http.MethodPost, "images/generations", formOpenAI},
	{http.MethodPost, "images/edits", formOpenAI},
	{http.MethodPost, "images/variations", formOpenAI},
	{http.MethodPost, "audio/speech", formOpenAI},
	{http.MethodPost, "audio/transcriptions", formOpenAI},
	{http.MethodPost, "audio/translations", formOpenAI},
	{http.MethodGet, "model/info", free},
	{http.MethodGet, "models", free},
	{http.MethodGet, "models/*", free},
	{http.MethodGet, "models/*/*", free},
	{http.MethodGet, "models/*/*/*", free},
	{http.MethodPost, "models/*:*", formGemini},
	{http.MethodPost, "models/*/*:*", formGemini},
	{http.MethodPost, "models/*/*/*:*", formGemini},   // record/<name>/<model>
	{http.MethodPost, "models/*/*/*/*:*", formGemini}, // whose name has a / too
	{http.MethodGet, "v1beta/models", free},
	{http.MethodGet, "v1beta/models/*", free},
	{http.MethodGet, "v1beta/models/*/*", free},
	{http.MethodPost, "v1beta/models/*:*", formGemini},
	{http.MethodPost, "v1beta/models/*/*:*", formGemini},
	{http.MethodPost, "v1beta/models/*/*/*:*", formGemini},
	{http.MethodPost, "v1beta/models/*/*/*/*:*", formGemini},
}

// verbs are what a model of Gemini's can be asked for here. Others begin work that goes on
// after the answer, and tell nothing of what it uses.
var verbs = []string{"generateContent", "streamGenerateContent", "embedContent", "batchEmbedContents", "countTokens", "computeTokens"}

// freeVerbs run no model.
var freeVerbs = []string{"countTokens", "computeTokens"}

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
	form    form     // free: it runs no model
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
		if fits, _ := path.Match(row.path, t.path); fits && !strings.HasSuffix(row.path, ":*") || fits && slices.Contains(verbs, verbOf(t.path)) { // the patterns are well formed
			allowed = append(allowed, row.method)
			if row.method == r.Method {
				t.form = row.form
			}
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
		if colon := strings.LastIndexByte(name, ':'); colon >= 0 {
			if slices.Contains(freeVerbs, verbOf(t.path)) {
				t.form = free
			}
			name = name[:colon]
		}
		t.models = append(t.models, name)
	}
	return t, nil
}

// verbOf is what stands after the last colon of a path.
func verbOf(path string) string { return path[strings.LastIndexByte(path, ':')+1:] }

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
