//go:build unix

package agent

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

// Memory is one thing to remember, as the platform's API has it.
type Memory struct {
	Text     string   `json:"text"`
	Tags     []string `json:"tags,omitempty"`
	Type     string   `json:"type,omitempty"`
	Priority int      `json:"priority,omitempty"`
	Pinned   bool     `json:"pinned,omitempty"`
	Source   string   `json:"source,omitempty"`
}

// saveMemory is the save_memory tool.
func (w *workspace) saveMemory(ctx context.Context, m Memory) (result, error) {
	if strings.TrimSpace(m.Text) == "" {
		return result{}, errors.New("text is missing")
	}
	m.Text, m.Source = scrub(m.Text), "agent"
	body, err := encode(m)
	if err != nil {
		return result{}, err
	}
	if _, err := w.platform(ctx, http.MethodPost, "", body); err != nil {
		return result{}, err
	}
	return result{title: "save memory", output: "Saved: " + m.Text}, nil
}

type searchArgs struct {
	Query string   `json:"query"`
	Tags  []string `json:"tags"`
}

// searchMemory is the search_memory tool.
func (w *workspace) searchMemory(ctx context.Context, args searchArgs) (result, error) {
	query := url.Values{}
	if args.Query != "" {
		query.Set("q", args.Query)
	}
	for _, tag := range args.Tags {
		query.Add("tag", tag)
	}
	body, err := w.platform(ctx, http.MethodGet, "?"+query.Encode(), nil)
	if err != nil {
		return result{}, err
	}
	var list struct {
		Data []Memory `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return result{}, fmt.Errorf("the platform's answer is not JSON: %w", err)
	}
	var b strings.Builder
	for _, m := range list.Data {
		fmt.Fprintf(&b, "- [%s] %s\n", strings.Join(append([]string{m.Type}, m.Tags...), ", "), m.Text)
	}
	if len(list.Data) == 0 {
		b.WriteString("Nothing is remembered about that.")
	}
	return result{title: args.Query, output: b.String()}, nil
}

// platform calls the memory of this agent and returns what it answers.
func (w *workspace) platform(ctx context.Context, method, query string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, platformLimit)
	defer cancel()
	target := strings.TrimRight(w.cfg.PlatformURL, "/") + "/api/v1/managed_agents/agents/" + url.PathEscape(w.cfg.AgentID) + "/memory" + query
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: w.transport}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, platformSize))
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("the platform answered %s: %s", res.Status, clip(strings.TrimSpace(string(answer)), 500))
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
	var all []secret
	for _, s := range [][2]string{
		{`(?s)-----BEGIN [A-Z0-9 ]+-----.*?(-----END [A-Z0-9 ]+-----|\z)`, "[secret]"},
		{`\b(sk|pk|rk)[-_][A-Za-z0-9_-]{16,}`, "[secret]"},
		{`\b(gh[a-z]_|github_pat_|glpat-|rnd_|e2b_|xapp-|xox[a-z]-)[A-Za-z0-9_-]{10,}`, "[secret]"},
		{`\b(AKIA|ASIA)[A-Z0-9]{16}\b`, "[secret]"},
		{`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`, "$1 [secret]"},
		{`(?i)\b([a-z0-9_.-]*(?:password|passwd|secret|token|api_?key|access_?key|private_?key|credential)[a-z0-9_.-]*["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s"',;]+)`, "$1[secret]"},
	} {
		all = append(all, secret{regexp.MustCompile(s[0]), s[1]})
	}
	return all
})
