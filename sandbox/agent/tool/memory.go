package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	platformLimit = 15 * time.Second // for one call to the platform
	platformSize  = 1 << 20          // bytes of its answer
)

// memory is one thing to remember, as the platform's API has it.
type memory struct {
	Text     string   `json:"text"`
	Tags     []string `json:"tags,omitempty"`
	Type     string   `json:"type,omitempty"`
	Priority int      `json:"priority,omitempty"`
	Pinned   bool     `json:"pinned,omitempty"`
	Source   string   `json:"source,omitempty"`
}

// saveMemory is the save_memory tool.
func (b *Box) saveMemory(ctx context.Context, m memory) (Result, error) {
	if strings.TrimSpace(m.Text) == "" {
		return Result{}, errors.New("text is missing")
	}
	m.Text, m.Source = scrub(m.Text), "agent"
	body, err := json.Marshal(m)
	if err != nil {
		return Result{}, err
	}
	if _, err := b.set.askPlatform(ctx, http.MethodPost, "", body); err != nil {
		return Result{}, err
	}
	return Result{Title: "save memory", Output: "Saved: " + m.Text}, nil
}

type searchArgs struct {
	Query string   `json:"query"`
	Tags  []string `json:"tags"`
}

// searchMemory is the search_memory tool.
func (b *Box) searchMemory(ctx context.Context, args searchArgs) (Result, error) {
	query := url.Values{}
	if args.Query != "" {
		query.Set("q", args.Query)
	}
	for _, tag := range args.Tags {
		query.Add("tag", tag)
	}
	body, err := b.set.askPlatform(ctx, http.MethodGet, "?"+query.Encode(), nil)
	if err != nil {
		return Result{}, err
	}
	var list struct {
		Data []memory `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return Result{}, fmt.Errorf("the platform's answer is not JSON: %w", err)
	}
	var text strings.Builder
	for _, m := range list.Data {
		fmt.Fprintf(&text, "- [%s] %s\n", strings.Join(append([]string{m.Type}, m.Tags...), ", "), m.Text)
	}
	if len(list.Data) == 0 {
		text.WriteString("Nothing is remembered about that.")
	}
	return Result{Title: args.Query, Output: text.String()}, nil
}

// askPlatform calls the memory and returns what it answers.
func (s *Set) askPlatform(ctx context.Context, method, query string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, platformLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.Memory+query, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, platformSize))
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("the platform answered %s: %.500s", res.Status, strings.TrimSpace(string(answer)))
	}
	return answer, nil
}

// scrub replaces what looks like a secret: models are told not to save any.
func scrub(text string) string {
	for _, s := range secrets() {
		text = s.pattern.ReplaceAllString(text, s.with)
	}
	return text
}

type secret struct {
	pattern *regexp.Regexp
	with    string
}

// secrets are compiled on first use: most runs of the program need none.
var secrets = sync.OnceValue(func() []secret {
	const word = `[a-z0-9_.-]*(?:password|passwd|secret|token|api_?key|access_?key|private_?key|credential)[a-z0-9_.-]*`
	re := regexp.MustCompile
	return []secret{
		{re(`(?s)-----BEGIN [A-Z0-9 ]+-----.*?(-----END [A-Z0-9 ]+-----|\z)`), "[secret]"},
		{re(`\b(sk|pk|rk)[-_][A-Za-z0-9_-]{16,}`), "[secret]"},
		{re(`\b(gh[a-z]_|github_pat_|glpat-|rnd_|e2b_|xapp-|xox[a-z]-)[A-Za-z0-9_-]{10,}`), "[secret]"},
		{re(`\b(AKIA|ASIA)[A-Z0-9]{16}\b`), "[secret]"},
		{re(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`), "$1 [secret]"},
		{re(`(?i)\b(` + word + `["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s"',;]+)`), "$1[secret]"},
	}
})
