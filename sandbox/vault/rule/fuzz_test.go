package rule_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"lap/sandbox/vault/rule"
)

// numeric is wider than inet_aton: a name that looks like an address is wrong as well.
var numeric = regexp.MustCompile(`^((0x[0-9a-f]*|[0-9]+)\.){0,3}(0x[0-9a-f]*|[0-9]+)$`)

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{
		"github.com", "GitHub.com.", "bücher.example", "xn--bcher-kva.example", "ｇｉｔｈｕｂ。com", "faß.de", "xn--", "a.xn--", "℀", "⒈com", "אב.example",
		"127.1", "0x7f.1", "2130706433", "017700000001", "0x7f000001", "１２７．１", "1.2.3.4.5", "08", "0x", "a\u00ad.1",
		"::1", "[::1]", "::ffff:1.2.3.4", "::1.2.3.4", "64:ff9b::1.2.3.4", "2002:7f00:1::", "2001::1", "fe80::1%eth0", "[", "u@a", "a%2eb", "a\x00", "", ".", "-",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		to, err := rule.ParseTarget(host, 443)
		if err != nil {
			if to != (rule.Target{}) {
				t.Fatalf("%q: %v and %#v", host, err, to)
			}
			return
		}
		if again, err := rule.ParseTarget(to.String(), 443); err != nil || again != to {
			t.Errorf("%q is %#v, which is %#v, %v", host, to, again, err)
		}
		if (to.Name != "") == to.Addr.IsValid() || to.Addr.Is4In6() || to.Addr.Zone() != "" {
			t.Errorf("%q is %#v", host, to)
		}
		if to.Name != "" {
			checkName(t, to.Name)
		}
		checkDecisions(t, to)
	})
}

func checkName(t *testing.T, name string) {
	t.Helper()
	if _, err := netip.ParseAddr(name); err == nil || numeric.MatchString(name) {
		t.Errorf("%q is an address", name)
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || len(name) > 253 {
		t.Errorf("%q is a name", name)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			t.Errorf("%q has the label %q", name, label)
		}
	}
}

// checkDecisions looks for what no rule may do to a target that was parsed.
func checkDecisions(t *testing.T, to rule.Target) {
	t.Helper()
	if d := (rule.Set{DefaultDeny: true}).Host(to); d.Allowed || d.Rule == "no host" {
		t.Errorf("%s: %+v", to, d)
	}
	if d := (rule.Set{}).Denied(to); !d.Allowed {
		t.Errorf("%s: %+v", to, d)
	}
	if to.Addr.IsValid() && (to.Addr.IsPrivate() || to.Addr.IsLoopback() || !to.Addr.IsGlobalUnicast()) && (rule.Set{}).Host(to).Allowed {
		t.Errorf("%s is allowed", to)
	}
	if to.Addr.Is6() {
		return
	}
	e, err := rule.ParseEntry(to.String())
	if err != nil || !e.Match(to) {
		t.Fatalf("no entry names %s: %v", to, err)
	}
	if d := (rule.Set{Deny: []rule.Entry{e}}).Host(to); d.Allowed {
		t.Errorf("%s: %+v", to, d)
	}
	if d := (rule.Set{Allow: []rule.Entry{e}, DefaultDeny: true}).Host(to); !d.Allowed {
		t.Errorf("%s: %+v", to, d)
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, seed := range []string{
		"api.x.com", "*.x.com", "X.com.", "1.2.3.4", "10.0.0.0/8", "10.1.2.3/8", "0.0.0.0/0", "1.2.3.4/32", "http://x", "x:443", "*", "*.", "..", "-",
		"x.com/99", "[::1]", "0x7f.1", "127.1", "010.0.0.1", "*.1.2.3.4", "xn--bcher-kva.example", "xn--", "a.xn--", "é.com", "a\x00", "1.2.3.4.",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := rule.ParseEntry(text)
		if err != nil {
			if e != (rule.Entry{}) {
				t.Fatalf("%q: %v and %q", text, err, e)
			}
			return
		}
		if again, err := rule.ParseEntry(e.String()); err != nil || again != e {
			t.Errorf("%q is %q, which is %q, %v", text, e, again, err)
		}
		if !rule.Covers([]string{text}, text) || !rule.Covers([]string{strings.ToUpper(text)}, e.String()) {
			t.Errorf("%q does not cover itself", text)
		}
		name := strings.TrimPrefix(e.String(), "*.")
		if strings.Contains(name, "/") || len(name) > 63 { // no target is as long as some entries
			return
		}
		to, err := rule.ParseTarget(name, 443)
		if err != nil || !e.Match(to) {
			t.Errorf("%q matches no target: %#v, %v", text, to, err)
		}
	})
}
