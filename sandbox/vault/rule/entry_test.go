package rule_test

import (
	"net/netip"
	"strings"
	"testing"

	"lap/sandbox/vault/rule"
)

func TestParseEntry(t *testing.T) {
	tests := []struct{ text, want string }{
		{"api.x.com", "api.x.com"},
		{"*.x.com", "*.x.com"},
		{"*.com", "*.com"},
		{"A.COM", "a.com"},
		{"x.com.", "x.com"},
		{"*.X.com.", "*.x.com"},
		{"a_b.com", "a_b.com"},
		{"_", ""},
		{"localhost", "localhost"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"1.2.3.4.example", "1.2.3.4.example"},
		{strings.Repeat("a", 253), strings.Repeat("a", 253)},
		{"1.2.3.4", "1.2.3.4"},
		{"1.2.3.4.", "1.2.3.4"},
		{"1.2.3.4/32", "1.2.3.4"},
		{"10.0.0.0/8", "10.0.0.0/8"},
		{"10.1.2.3/8", "10.0.0.0/8"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"1.2.3.4/0", "0.0.0.0/0"},

		{"", ""},
		{"a b", ""},
		{" x.com", ""},
		{"x.com\n", ""},
		{"x\x00.com", ""},
		{"http://x", ""},
		{"x:443", ""},
		{"u@x.com", ""},
		{"*", ""},
		{"*.", ""},
		{"*..", ""},
		{"*x.com", ""},
		{"x*.com", ""},
		{"*.*.com", ""},
		{"x.*", ""},
		{"x.com/", ""},
		{"x.com/99", ""},
		{"x.com/8", ""},
		{"*.x.com/8", ""},
		{"*.1.2.3.4/8", ""},
		{"[::1]", ""},
		{"::1", ""},
		{"::/0", ""},
		{"::ffff:1.2.3.4", ""},
		{"::ffff:1.2.3.4/104", ""},
		{"..", ""},
		{".", ""},
		{"-", ""},
		{"_._", ""},
		{".x.com", ""},
		{"a..b", ""},
		{"x.com..", ""},
		{"é.com", ""},
		{"ｘ.com", ""},
		{"xn--abc-.com", ""},
		{"xn--zzzzzzzzzzzz", ""},
		{strings.Repeat("a", 254), ""},
		{strings.Repeat("a", 253) + ".", ""},

		{"1.2.3.4/33", ""},
		{"1.2.3.4/-1", ""},
		{"1.2.3.4/08", ""},
		{"1.2.3.4/", ""},
		{"1.2.3.4/8/8", ""},
		{"1.2.3.4./8", ""},
		{"1.2.3/8", ""},
		{"010.0.0.0/8", ""},
		{"10.0.0.0/255.0.0.0", ""},
		{"300.1.1.1", ""},
		{"300.1.1.1/8", ""},
		{"010.0.0.1", ""},
		{"0x7f.1", ""},
		{"0x7f000001", ""},
		{"127.1", ""},
		{"1.2.3", ""},
		{"2130706433", ""},
		{"017700000001", ""},
		{"1.2.3.4.5", ""},
		{"x.0x1", ""},
		{"x.1", ""},
		{"*.1.2.3.4", ""},
		{"*.1", ""},
	}
	for _, tt := range tests {
		e, err := rule.ParseEntry(tt.text)
		if (err == nil) != (tt.want != "") || e.String() != tt.want {
			t.Errorf("%.80q is %q, %v; want %q", tt.text, e, err, tt.want)
		}
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		entry, host string
		want        bool
	}{
		{"github.com", "github.com", true},
		{"GitHub.com.", "github.COM", true},
		{"github.com", "GITHUB.com.", true},
		{"github.com", "api.github.com", false},
		{"github.com", "xgithub.com", false},
		{"github.com", "github.com.evil.example", false},
		{"*.x.com", "x.com", true},
		{"*.x.com", "a.x.com", true},
		{"*.x.com", "a.b.X.com.", true},
		{"*.x.com", "ax.com", false},
		{"*.x.com", "x.com.evil.example", false},
		{"*.com", "com", true},
		{"xn--bcher-kva.example", "BÜCHER.example", true},
		{"*.example", "bücher.example", true},
		{"localhost", "127.0.0.1", false},

		{"1.2.3.4", "1.2.3.4", true},
		{"1.2.3.4", "0x01020304", true},
		{"1.2.3.4", "[::ffff:1.2.3.4]", true},
		{"1.2.3.4", "1.2.3.5", false},
		{"1.2.3.4", "1.2.3.4.example", false},
		{"10.0.0.0/8", "10.255.1.1", true},
		{"10.0.0.0/8", "012.1", true},
		{"10.0.0.0/8", "::a00:1", true},
		{"10.0.0.0/8", "11.0.0.0", false},
		{"10.0.0.0/8", "10.0.0.1.example", false},
		{"0.0.0.0/0", "255.255.255.255", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"0.0.0.0/0", "x.com", false},
	}
	for _, tt := range tests {
		e, to := entry(t, tt.entry), target(t, tt.host)
		if got := e.Match(to); got != tt.want {
			t.Errorf("%s by %s = %t, want %t", tt.host, tt.entry, got, tt.want)
		}
		if got := e.MatchName(to.Name) || e.MatchAddr(to.Addr); got != tt.want {
			t.Errorf("%s by a part of %s = %t, want %t", tt.host, tt.entry, got, tt.want)
		}
	}
}

func TestMatchAddrForms(t *testing.T) {
	e := entry(t, "1.2.3.0/24")
	for _, addr := range []string{"1.2.3.4", "::ffff:1.2.3.4", "::ffff:1.2.3.4%eth0", "::1.2.3.4"} {
		if !e.MatchAddr(netip.MustParseAddr(addr)) {
			t.Errorf("%s is not in %s", addr, e)
		}
	}
}

func TestZeroEntryMatchesNothing(t *testing.T) {
	var e rule.Entry
	if e.MatchName("") || e.MatchName("x.com") || e.MatchAddr(netip.Addr{}) || e.MatchAddr(netip.IPv4Unspecified()) || e.Match(rule.Target{}) {
		t.Error("it matches")
	}
}

func TestCovers(t *testing.T) {
	tests := []struct {
		list, host string
		want       bool
	}{
		{"*.x.com", "api.x.com", true},
		{"*.x.com", "x.com", true},
		{"*.x.com", "*.x.com", true},
		{"*.x.com", "a.b.x.com", true},
		{"*.x.com", "*.b.x.com", true},
		{"*.x.com", "ax.com", false},
		{"*.x.com", "x.com.evil.org", false},
		{"api.x.com", "API.x.com", true},
		{"*.X.com", "api.x.COM", true},
		{"x.com.", "x.com", true},
		{"x.com", "api.x.com", false},
		{"x.com", "*.x.com", false},
		{"y.com x.com", "x.com", true},
		{"1.2.3.4", "1.2.3.4", true},
		{"1.2.3.4/32", "1.2.3.4", true},
		{"10.0.0.0/8", "10.1.1.1", false},
		{"10.0.0.0/8", "10.1.0.0/16", false},
		{"10.0.0.0/8", "10.0.0.0/8", true},
		{"10.1.0.0/8", "10.0.0.0/8", true},
		{"*.com", "1.2.3.4", false},
		{"", "x.com", false},
		{"x..com", "x..com", false},
		{"* x.com", "x.com", true},
	}
	for _, tt := range tests {
		if got := rule.Covers(strings.Fields(tt.list), tt.host); got != tt.want {
			t.Errorf("%s by %s = %t, want %t", tt.host, tt.list, got, tt.want)
		}
	}
}

// entry parses an entry that must parse.
func entry(t *testing.T, text string) rule.Entry {
	t.Helper()
	e, err := rule.ParseEntry(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func entries(t *testing.T, list string) []rule.Entry {
	t.Helper()
	var parsed []rule.Entry
	for text := range strings.FieldsSeq(list) {
		parsed = append(parsed, entry(t, text))
	}
	return parsed
}
