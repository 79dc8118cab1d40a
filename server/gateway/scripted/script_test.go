package scripted_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const hi = `"messages":[{"role":"user","content":"hi"}]`

func TestBrokenScripts(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "scripts/s.yaml:"},
		{"no turns", "loop: true", "turns: at least one is needed"},
		{"syntax", "turns:\n  - text: a\n  text: [", "line 3: "},
		{"unknown key", "turns:\n  - text: a\n    txet: b\n", "line 3: key txet is not known in a turn"},
		{"unknown key of when", "turns:\n  - text: a\n    when: {says: b}\n", "line 3: key says is not known in when"},
		{"turns no list", "turns: 5", "line 1: cannot turn !!int `5` into a list of turns"},
		{"unknown anchor", "turns: *a", "line 1: unknown anchor"},
		{"key twice", "loop: true\nloop: false\nturns: [{text: a}]", "line 2"},
		{"two documents", "turns: [{text: a}]\n---\nturns: []", "scripts/s.yaml:"},
		{"empty turn", "turns: [{text: a}, {delay: 1s}]", "turn 2: needs one of text, reasoning, tool_calls and error"},
		{"no duration", "turns: [{text: a, delay: soon}]", "line 1: cannot turn !!str `soon` into a time such as 250ms or 2s"},
		{"negative delay", "turns: [{text: a, delay: -1s}]", "turn 1: delay: is not between 0 and 30m"},
		{"long delay", "turns: [{text: a, chunk_delay: 31m}]", "turn 1: chunk_delay:"},
		{"empty when", "turns: [{text: a, when: {}}]", "turn 1: when: needs one of"},
		{"bad user_regexp", "turns: [{text: a, when: {user_regexp: '('}}]", "turn 1: when: user_regexp: error parsing regexp"},
		{"bad tool_regexp", "turns: [{text: a, when: {tool_regexp: '('}}]", "turn 1: when: tool_regexp: error parsing regexp"},
		{"nameless call", "turns: [{tool_calls: [{name: a}, {arguments: {}}]}]", "turn 1: tool_calls[1]: name: is missing"},
		{"arguments a list", "turns: [{tool_calls: [{name: a, arguments: [1]}]}]", "turn 1: tool_calls[0]: arguments: is neither a mapping nor a string"},
		{"arguments without JSON form", "turns: [{tool_calls: [{name: a, arguments: {n: .nan}}]}]", "turn 1: tool_calls[0]: arguments: have no JSON form"},
		{"finish_reason", "turns: [{text: a, finish_reason: done}]", `turn 1: finish_reason: \"done\" is none of stop`},
		{"negative cut", "turns: [{text: a, cut: -1}]", "turn 1: cut: is negative"},
		{"negative usage", "turns: [{text: a, usage: {cached_tokens: -1}}]", "turn 1: usage:"},
		{"status", "turns: [{error: {status: 200}}]", "turn 1: error: status: 200 is not between 400 and 599"},
		{"no status", "turns: [{error: {message: a}}]", "turn 1: error: status: 0 is not between 400 and 599"},
		{"retry_after", "turns: [{error: {status: 429, retry_after: -1s}}]", "turn 1: error: retry_after:"},
		{"times without answer", "turns: [{error: {status: 429, times: 1}}]", "turn 1: error: times: needs an answer"},
		{"answer without times", "turns: [{text: a, error: {status: 429}}]", "turn 1: error: without times"},
		{"negative times", "turns: [{text: a, error: {status: 429, times: -1}}]", "turn 1: error: times: is negative"},
		{"malformed kind", "turns: [{text: a, malformed: {kind: html}}]", `turn 1: malformed: kind: \"html\" is neither json nor framing`},
		{"unknown key of malformed", "turns: [{text: a, malformed: {times: 1}}]", "line 1: key times is not known in malformed"},
		{"negative malformed", "turns: [{text: a, malformed: {after: -1}}]", "turn 1: malformed: after: is negative"},
		{"two faults", "turns: [{text: a, malformed: {after: 1}, cut: 2}]", "turn 1: cut, malformed and an error with after: only one"},
		{"negative after", "turns: [{text: a, error: {status: 500, after: -1}}]", "turn 1: error: after: is negative"},
		{"after without answer", "turns: [{error: {status: 500, after: 1}}]", "turn 1: error: after: needs an answer"},
		{"repeat with when", "turns: [{text: a, repeat: true, when: {user: b}}]", "turn 1: repeat: a turn with when"},
		{"repeat and loop", "loop: true\nturns: [{text: a, repeat: true}]", "turn 1: repeat: what comes after it is never given"},
		{"repeat before another", "turns: [{text: a, repeat: true}, {text: b}]", "turn 1: repeat: what comes after it is never given"},
		{"loop without turns in order", "loop: true\nturns: [{text: a, when: {user: b}}]", "loop: there is no turn without when"},
		{"too large", "turns: [{text: a}]\n#" + strings.Repeat("x", 1<<20), "the file is larger than 1024 KiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url := serve(t, script(t, "s", tt.text))
			res, body := ask(t, url, `{"model":"scripted/s",`+hi+`}`)
			if res.StatusCode != http.StatusBadRequest || !strings.Contains(body, tt.want) || !strings.Contains(body, `"invalid_script"`) || !strings.Contains(body, "scripts/s.yaml: ") {
				t.Errorf("answer = %d %s, want 400, invalid_script, the file and %q", res.StatusCode, body, tt.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	dir := script(t, "a.b_c-1", "turns: [{text: yes}]")
	secret := filepath.Join(filepath.Dir(dir), "secret.yaml")
	if err := os.WriteFile(secret, []byte("turns: [{text: secret}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	url := serve(t, dir)
	tests := []struct {
		model, want string
		status      int
	}{
		{"scripted/a.b_c-1", "yes", 200},
		{"scripted/", "no name of a script", 400},
		{"scripted/../secret", "no name of a script", 400},
		{"scripted/..", "no name of a script", 400},
		{"scripted/.hidden", "no name of a script", 400},
		{`scripted/..\\secret`, "no name of a script", 400},
		{`scripted/a\u0000`, "no name of a script", 400},
		{"scripted/" + strings.Repeat("x", 200), "no name of a script", 400},
		{"scripted/Nope", "there is no script scripts/Nope.yaml; the scripted models are scripted/echo, scripted/a.b_c-1", 404},
		{"scripted/folder", "scripts/folder.yaml: is a directory", 400},
	}
	for _, tt := range tests {
		t.Run(tt.model, func(t *testing.T) {
			res, body := ask(t, url, `{"model":"`+tt.model+`",`+hi+`}`)
			if res.StatusCode != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("answer = %d %s, want %d and %q", res.StatusCode, body, tt.status, tt.want)
			}
			if strings.Contains(body, filepath.Dir(dir)) {
				t.Errorf("the answer names a path of the host: %s", body)
			}
		})
	}
}

func TestScriptChangesAtOnce(t *testing.T) {
	dir := script(t, "s", "turns: [{text: old}]")
	url := serve(t, dir)
	if got := saidTo(t, url, "scripted/s", hi); got != "old" {
		t.Errorf("answer = %q, want old", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "s.yaml"), []byte("turns: [{text: new}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := saidTo(t, url, "scripted/s", hi); got != "new" {
		t.Errorf("answer = %q, want new", got)
	}
}

func TestUsage(t *testing.T) {
	url := serve(t, script(t, "s", "turns: [{text: a, usage: {prompt_tokens: 90000, completion_tokens: 7, cached_tokens: 5, reasoning_tokens: 2}}]"))
	tests := []struct{ path, rest, want string }{
		{chatPath, `"stream_options":{"include_usage":true},` + hi, `"usage":{"prompt_tokens":90000,"completion_tokens":7,"total_tokens":90007,"prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":2}}`},
		{messagesPath, hi, `"usage":{"input_tokens":89995,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":7}`},
		{responsesPath, `"input":"hi"`, `"usage":{"input_tokens":90000,"input_tokens_details":{"cached_tokens":5},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":90007}`},
	}
	for _, tt := range tests {
		for _, stream := range []string{"true", "false"} {
			if _, body := post(t, url+tt.path, `{"model":"scripted/s","stream":`+stream+`,`+tt.rest+`}`); !strings.Contains(body, tt.want) {
				t.Errorf("answer = %s, want %s", body, tt.want)
			}
		}
	}
}

// Every wire has its own errors, and announces when to try again in the same way.
func TestErrors(t *testing.T) {
	tests := []struct{ error, openAI, anthropic string }{
		{"status: 400", "invalid_request_error", "invalid_request_error"},
		{"status: 401", "invalid_request_error", "authentication_error"},
		{"status: 403", "invalid_request_error", "permission_error"},
		{"status: 404", "invalid_request_error", "not_found_error"},
		{"status: 413", "invalid_request_error", "request_too_large"},
		{"status: 429", "rate_limit_error", "rate_limit_error"},
		{"status: 500", "api_error", "api_error"},
		{"status: 504", "api_error", "timeout_error"},
		{"status: 529", "api_error", "overloaded_error"},
		{"status: 500, type: odd_error", "odd_error", "odd_error"},
	}
	for _, tt := range tests {
		t.Run(tt.error, func(t *testing.T) {
			url := serve(t, script(t, "s", "turns: [{error: {"+tt.error+", code: c, message: No., retry_after: 1500ms}}]"))
			openAI := `{"error":{"message":"No.","type":"` + tt.openAI + `","param":null,"code":"c"}}`
			for path, want := range map[string]string{
				chatPath: openAI, responsesPath: openAI, messagesPath: `{"type":"error","error":{"type":"` + tt.anthropic + `","message":"No."}}`,
			} {
				for _, stream := range []string{"true", "false"} {
					res, body := post(t, url+path, `{"model":"scripted/s","stream":`+stream+`,"input":"hi",`+hi+`}`)
					if strings.TrimSpace(body) != want || !strings.Contains(tt.error, strconv.Itoa(res.StatusCode)) {
						t.Errorf("%s: answer = %d %s, want %s", path, res.StatusCode, body, want)
					}
					if got := res.Header.Get("Retry-After") + " " + res.Header.Get("Retry-After-Ms"); got != "2 1500" {
						t.Errorf("%s: again after %s, want 2 1500", path, got)
					}
				}
			}
		})
	}
}

// Two sessions that send the same do not use up each other's failures.
func TestFailuresAreCountedApart(t *testing.T) {
	url := serve(t, script(t, "s", "turns: [{text: a, error: {status: 500, times: 1}}]"))
	for _, header := range []string{"X-Session-Id", "X-Claude-Code-Session-Id", "Session-Id"} {
		for _, session := range []string{header + " one", header + " two", ""} {
			for try, want := range []int{500, 200, 500, 200} {
				body := `{"model":"scripted/s",` + hi + `}`
				if session != "" && try == 1 {
					body = strings.Replace(body, "hi", "changed", 1)
				}
				if got := askAs(t, url, header, session, body); got != want {
					t.Errorf("session %q, try %d: status = %d, want %d", session, try, got, want)
				}
			}
		}
	}
}
