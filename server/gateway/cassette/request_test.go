package cassette_test

import (
	"encoding/json"
	"strings"
	"testing"

	"lap/server/gateway/cassette"
)

// form is the text of a request whose body is one string.
func form(t *testing.T, text string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"input": text, "model": "record/x/y"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := cassette.Canonical("POST responses", body, "record/x/y")
	if err != nil {
		t.Fatal(err)
	}
	return r.Text
}

// What differs between two runs of the same work has one form.
func TestSameFromRunToRun(t *testing.T) {
	for _, pair := range [][2]string{
		{"0b0f3c1e-7a52-4c50-a0cf-2f0d35d2a8f1", "AAAAAAAA-7A52-4C50-A0CF-2F0D35D2A8F1"},
		{"ses_5f1a2b3c4dXYZ", "ses_6AAAAAAAAxyz1"},
		{"in msg_01ABCDEFGH and toolu_01XYZabcdef, call_abc123def456", "in msg_0299999999 and toolu_99999999zz, call_zzz999zzz999"},
		{"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "chatcmpl-0000000001"},
		{"2026-01-05T10:00:00Z", "2026-12-31T23:59:59.123456+02:00"},
		{"at 2026-01-05 10:00 it", "at 2026-02-01 9:05 it"},
		{"Today's date: 2026-01-05", "Today's date: 1999-12-31"},
		{"Today's date: Mon Jan 05 2026", "Today's date: Thu Dec 31 2026"},
		{"Monday, January 5, 2026", "Thursday, December 31, 2026"},
		{"Date: Mon, 05 Jan 2026 10:00:00 GMT", "Date: Thu, 31 Dec 2026 23:59:59 GMT"},
		{"Mon Jan  5 10:00:00 UTC 2026", "Thu Dec 31 23:59:59 UTC 2026"},
		{"drwxr-xr-x 2 root root 4096 Jan  5 10:03 src", "drwxr-xr-x 2 root root 4096 Dec 31 23:59 src"},
		{"1/5/2026", "12/31/2026"},
		{"[10:00:00.123] up", "[23:59:59.9] up"},
		{"t=1767225600", "t=1798761599"},
		{"t=1767225600123", "t=1798761599000"},
		{"ok lap/x 0.123s", "ok lap/x 12.3s"},
		{"took 12ms", "took 3 ms"},
		{"commit 9a3f0c1e2b4d5f60718293a4b5c6d7e8f9012345", "commit 0123456789abcdef0123456789abcdef01234567"},
		{"/tmp/go-build3141592653/b001", "/tmp/go-build2718281828/b001"},
		{"/tmp/tmp.aBcDeFgHiJ/x", "/tmp/tmp.0123456789/x"},
		{"stub_github_token_db956f5c", "stub_github_token_00112233"},
		{"token sk-proj-abc123def456", "token sk-proj-zzz999zzz999"},
	} {
		if a, b := form(t, pair[0]), form(t, pair[1]); a != b {
			t.Errorf("%q is\n%s%q is\n%s", pair[0], a, pair[1], b)
		}
	}
}

// What says what is asked is told apart.
func TestDifferentWorkStaysDifferent(t *testing.T) {
	for _, pair := range [][2]string{
		{"mend it", "break it"},
		{"sleep 5s", "sleep 10s"},
		{"add 1 to 2", "add 1 to 3"},
		{"port 3000", "port 4000"},
		{"v1.2.3", "v1.2.4"},
		{"call_the_function", "call_the_waiter"},
		{"tool_results", "tool_answers"},
		{"cat /tmp/a.txt", "cat /tmp/b.txt"},
		{"deadbeefcafe", "beefdeadcafe"},
		{"stub_github_token_db956f5c", "stub_npm_token_db956f5c"},
		{"5:30", "6:30"},
		{"task-list", "task-view"},
		{strings.Repeat("QUJD", 500), strings.Repeat("QUJE", 500)},
	} {
		if a, b := form(t, pair[0]), form(t, pair[1]); a == b {
			t.Errorf("%q and %q are both\n%s", pair[0], pair[1], a)
		}
	}
}

func TestMembers(t *testing.T) {
	r, err := cassette.Canonical("POST v1beta/models/record/x/y:generateContent?alt=sse", []byte(
		`{"z":[1.50,-2e3,12345678901234567890,true,null,{}],"user":"u","Metadata":{},"stream_options":{},"stream":true,"a":{"user":"kept","b":"record/x/y"},"text":"one\ntwo\n"}`), "record/x/y")
	if err != nil {
		t.Fatal(err)
	}
	const want = `request: POST v1beta/models/<model>:generateContent?alt=sse
body:
  a:
    b: <model>
    user: kept
  stream: true
  text: |
    one
    two
  z:
  - 1.50
  - -2e3
  - 12345678901234567890
  - true
  - null
  - {}
`
	if r.Text != want {
		t.Errorf("form = %s\nwant %s", r.Text, want)
	}
}

// TestScrubLeavesTheRest has what a model says that is no credential: a replay is to do what
// was recorded.
func TestScrubLeavesTheRest(t *testing.T) {
	for _, text := range []string{
		"git clone ssh://git@github.com/o/r", "postgres://postgres@localhost/db", "Bearer authentication is used", "write to me@example.com",
	} {
		if got := cassette.Scrub(text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	if got := cassette.Scrub("https://me:pass@example.com"); got != "https://"+cassette.Secret+"@example.com" {
		t.Errorf("a password stays: %q", got)
	}
}
