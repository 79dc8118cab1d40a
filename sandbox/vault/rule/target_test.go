package rule_test

import (
	"net/netip"
	"strings"
	"testing"

	"lap/sandbox/vault/rule"
)

func TestParseTarget(t *testing.T) {
	long := strings.Repeat("a", 63)
	full := strings.Join([]string{long, long, long, long[:61]}, ".")
	tests := []struct{ host, want string }{
		{"github.com", "github.com"},
		{"GitHub.COM", "github.com"},
		{"github.com.", "github.com"},
		{"a_b.example.com", "a_b.example.com"},
		{"r3---sn-x.example.com", "r3---sn-x.example.com"},
		{"-a", "-a"},
		{"1.2.3.4.example", "1.2.3.4.example"},
		{"0x7f.example", "0x7f.example"},
		{"0x7g", "0x7g"},
		{"1e3", "1e3"},
		{full, full},
		{full + ".", full},

		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.example", "xn--bcher-kva.example"},
		{"bu\u0308cher.example", "xn--bcher-kva.example"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"XN--BCHER-KVA.example", "xn--bcher-kva.example"},
		{"faß.example", "xn--fa-hia.example"},
		{"ｇｉｔｈｕｂ．ｃｏｍ", "github.com"},
		{"github。com", "github.com"},
		{"github｡com｡", "github.com"},
		{"git\u00adhub.com", "github.com"},
		{"git\u200bhub.com", "github.com"},
		{"ⓛocalhost", "localhost"},
		{"℡.example", "tel.example"},

		{"127.0.0.1", "127.0.0.1"},
		{"127.0.0.1.", "127.0.0.1"},
		{"127.1", "127.0.0.1"},
		{"127.0.1", "127.0.0.1"},
		{"127.65535", "127.0.255.255"},
		{"0x7f.1", "127.0.0.1"},
		{"0X7F.1", "127.0.0.1"},
		{"0x7f000001", "127.0.0.1"},
		{"2130706433", "127.0.0.1"},
		{"017700000001", "127.0.0.1"},
		{"0177.0.0.1", "127.0.0.1"},
		{"0177.0x0.0.01", "127.0.0.1"},
		{"00000000177.0.0.1", "127.0.0.1"},
		{"010.1.2.3", "8.1.2.3"},
		{"0", "0.0.0.0"},
		{"4294967295", "255.255.255.255"},
		{"0xffffffff", "255.255.255.255"},
		{"192.168.0x1ff", "192.168.1.255"},
		{"１２７．０．０．１", "127.0.0.1"},
		{"127。0。0。1", "127.0.0.1"},
		{"①②⑦.1", "127.0.0.1"},
		{"0\u00adx7f.1", "127.0.0.1"},

		{"::1", "::1"},
		{"[::1]", "::1"},
		{"0:0:0:0:0:0:0:1", "::1"},
		{"::", "::"},
		{"2001:DB8::1", "2001:db8::1"},
		{"[2001:db8:0::0001]", "2001:db8::1"},
		{"::ffff:127.0.0.1", "127.0.0.1"},
		{"[::FFFF:7F00:1]", "127.0.0.1"},
		{"::127.0.0.1", "127.0.0.1"},
		{"::7f00:1", "127.0.0.1"},
		{"::2", "0.0.0.2"},
		{"64:ff9b::127.0.0.1", "64:ff9b::7f00:1"},
	}
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			got, err := rule.ParseTarget(tt.host, 443)
			if err != nil {
				t.Fatal(err)
			}
			want := rule.Target{Name: tt.want, Port: 443}
			if addr, err := netip.ParseAddr(tt.want); err == nil {
				want = rule.Target{Addr: addr, Port: 443}
			}
			if got != want {
				t.Errorf("got %#v, want %#v", got, want)
			}
			if got.String() != tt.want {
				t.Errorf("String() = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestParseTargetRefuses(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, host := range []string{
		"", ".", "..", "a..b", ".a", "a..", "。", "a。。b",
		" a", "a ", "a b", "a\tb", "a\n", "a\r\nb", "a\x00", "a\x00.github.com", "a\u00a0b", "a\u3000", "\ufeff a",
		"a/b", "a\\b", "a?b", "a#b", "a%2eb", "127%2e0.0.1", "u@a", "u:p@a", "a:80", "*", "*.a", "a,b", "a;b", "a'b", "a&b", "a=b", "~a", "(a)", "a|b", "{a}",
		"℀.example", "a／b", "ａ：８０", "：：1", "［::1］", "１％", "a\u2024b/", "a\u2100b",
		"-", "_", "-._", "a\xff", "\xc3\x28", "a\ufffdb", "\u202ea", "a\u0301\u200d", "אa.example",
		"xn--", "xn--a", "a.xn--", "xn--.a", "xn--abc-", "xn--localhost-", "xn--zzzzzzzzzzzz", "xn--a\u00fc",
		long, "a." + long, strings.Repeat("a.", 126) + "aa", strings.Repeat("a", 1<<20), strings.Repeat("ü", 200),

		"300.1.1.1", "1.2.3.4.5", "1.2.3.256", "1.2.65536", "1.16777216", "4294967296", "99999999999999999999", "040000000000", "0x100000000",
		"256.1", "1.256.1", "08", "1.2.3.08", "0x", "1.0x", "a.1", "a.0x1f", "localhost.0", "a.09", "1..2", "127.0.0.1..", "-1.2", "a.255.1",

		"[", "]", "[]", "[::1", "::1]", "[[::1]]", "[::1].", "[::1]:80", "::1.", "[127.0.0.1]", "[localhost]", ":", ":::", "1::2::3", "::g",
		"fe80::1%eth0", "[fe80::1%25eth0]", "::1%", "::ffff:127.0.0.1%lo", "::ffff:127.1", "::ffff:0127.0.0.1", "::ffff:1.2.3.256", "::１", "[::1 ]", "12345::1",
	} {
		if got, err := rule.ParseTarget(host, 443); err == nil {
			t.Errorf("%.80q is %q", host, got)
		} else if len(err.Error()) > 3000 || got != (rule.Target{}) {
			t.Errorf("%.80q: %#v, %.80q", host, got, err)
		}
	}
}

func TestParseTargetPort(t *testing.T) {
	for port, ok := range map[int]bool{-1: false, 0: false, 1: true, 65535: true, 65536: false, 65536 + 443: false} {
		got, err := rule.ParseTarget("github.com", port)
		if (err == nil) != ok || ok && int(got.Port) != port {
			t.Errorf("%d: %v, %v", port, got, err)
		}
	}
}

// target parses a host that must parse.
func target(t *testing.T, host string) rule.Target {
	t.Helper()
	parsed, err := rule.ParseTarget(host, 443)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
