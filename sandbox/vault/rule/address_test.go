package rule_test

import (
	"fmt"
	"net/netip"
	"testing"

	"lap/sandbox/vault/rule"
)

// specialAddresses are in IPv4, the first and the last of each range.
var specialAddresses = []string{
	"0.0.0.0", "0.0.0.1", "0.255.255.255", "127.0.0.0", "127.0.0.1", "127.255.255.255", "10.0.0.0", "10.255.255.255",
	"172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255",
	"100.64.0.0", "100.100.100.200", "100.127.255.255", "192.0.0.0", "192.0.0.192", "192.0.0.255", "168.63.129.16",
	"198.18.0.0", "198.19.255.255", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255",
}

var publicAddresses = []string{
	"1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
	"192.169.0.0", "169.253.255.255", "169.255.0.0", "100.63.255.255", "100.128.0.0", "192.0.1.0", "168.63.129.15", "168.63.129.17",
	"198.17.255.255", "198.20.0.0", "223.255.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1",
}

// notations are the ways to write an IPv4 address that lead to it.
func notations(text string) []string {
	addr := netip.MustParseAddr(text)
	b := addr.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	list := []string{
		text,
		text + ".",
		fmt.Sprintf("%d", n),
		fmt.Sprintf("%#x", n),
		fmt.Sprintf("%#X", n),
		fmt.Sprintf("0%o", n),
		fmt.Sprintf("000%o", n),
		fmt.Sprintf("%d.%d", b[0], n&0xffffff),
		fmt.Sprintf("%#x.%d.%#o", b[0], b[1], n&0xffff),
		fmt.Sprintf("%#o.%#x.%d.%#x", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("%d。%d．%d｡%d", b[0], b[1], b[2], b[3]),
	}
	list = append(list, wide(text))
	for _, v6 := range embeddings(addr) {
		list = append(list, v6, "["+v6+"]")
	}
	return list
}

// wide writes digits as wide as ideographs.
func wide(text string) string {
	var out []rune
	for _, r := range text {
		if r >= '0' && r <= '9' {
			r += '０' - '0'
		}
		out = append(out, r)
	}
	return string(out)
}

// embeddings are the IPv6 addresses whose packets may arrive at an IPv4 one.
func embeddings(addr netip.Addr) []string {
	b := addr.As4()
	hi, lo := uint16(b[0])<<8|uint16(b[1]), uint16(b[2])<<8|uint16(b[3])
	list := []string{
		fmt.Sprintf("::ffff:%s", addr),
		fmt.Sprintf("0:0:0:0:0:FFFF:%X:%X", hi, lo),
		fmt.Sprintf("::ffff:0:%s", addr),
		fmt.Sprintf("64:ff9b::%s", addr),
		fmt.Sprintf("2002:%x:%x::1", hi, lo),
		fmt.Sprintf("2001:0:%x:%x::f7f7:f7f7", hi, lo),
		fmt.Sprintf("2001::808:808:0:0:%x:%x", ^hi, ^lo),
	}
	if hi != 0 || lo > 1 { // these are addresses of IPv6
		list = append(list, fmt.Sprintf("::%s", addr))
	}
	return list
}

func TestSpecialAddressInAnyNotation(t *testing.T) {
	for _, text := range specialAddresses {
		for _, host := range notations(text) {
			for _, rules := range []string{"", "allow 0.0.0.0/0", "server-allow 0.0.0.0/0", "allow x.com *.com 8.8.8.8", "default"} {
				if got := set(t, rules).Host(target(t, host)); got.Allowed || got.Reason == "" {
					t.Errorf("{%s} %s, which is %s: %+v", rules, host, text, got)
				}
			}
		}
	}
}

func TestDeniedAddressInAnyNotation(t *testing.T) {
	for _, text := range publicAddresses {
		for _, host := range notations(text) {
			for _, rules := range []string{"deny %s", "server-deny %s", "deny %s/24; allow %[1]s", "server-deny 0.0.0.0/0; server-allow %s"} {
				rules := fmt.Sprintf(rules+"; allow x.com", text)
				to := target(t, host)
				if got := set(t, rules).Host(to); got.Allowed {
					t.Errorf("{%s} %s: %+v", rules, host, got)
				}
				if to.Addr.IsValid() && set(t, rules).Address(target(t, "x.com"), to.Addr).Allowed {
					t.Errorf("{%s} x.com at %s is allowed", rules, host)
				}
			}
		}
	}
}

func TestAddress(t *testing.T) {
	name := target(t, "x.com")
	for _, text := range specialAddresses {
		addrs := []netip.Addr{netip.MustParseAddr(text)}
		for _, v6 := range embeddings(addrs[0]) {
			addrs = append(addrs, netip.MustParseAddr(v6))
		}
		for _, addr := range addrs {
			for _, rules := range []string{"", "allow x.com", "server-allow x.com", "allow x.com 0.0.0.0/0", "allow x.com 128.0.0.0/1 0.0.0.0/1"} {
				if got := set(t, rules).Address(name, addr); got.Allowed || got.Reason == "" {
					t.Errorf("{%s} x.com at %s: %+v", rules, addr, got)
				}
			}
			for _, rules := range []string{"allow %s", "server-allow %s", "allow x.com %s/32"} {
				rules := fmt.Sprintf(rules, text)
				if got := set(t, rules).Address(name, addr); !got.Allowed && !rule6(addr) {
					t.Errorf("{%s} x.com at %s: %+v", rules, addr, got)
				}
				if got := set(t, rules+"; deny "+text).Address(name, addr); got.Allowed && !rule6(addr) {
					t.Errorf("{%s; deny} x.com at %s: %+v", rules, addr, got)
				}
			}
		}
	}
	for _, text := range publicAddresses {
		for _, rules := range []string{"", "allow x.com", "default; server-allow x.com", "deny y.com 1.2.3.4"} {
			if got := set(t, rules).Address(name, netip.MustParseAddr(text)); !got.Allowed || got.Rule != "public address" {
				t.Errorf("{%s} x.com at %s: %+v", rules, text, got)
			}
		}
	}
}

// rule6 reports whether addr is special in IPv6 itself, so that no rule names it.
func rule6(addr netip.Addr) bool { return addr.IsUnspecified() || addr.IsLoopback() }

func TestAddressRanges(t *testing.T) {
	tests := []struct {
		entry, addr string
		want        bool
	}{
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.1.0.0/16", "10.1.2.3", true},
		{"10.2.0.0/16", "10.1.2.3", false},
		{"10.0.0.0/7", "10.1.2.3", false},
		{"172.16.0.0/12", "172.31.0.1", true},
		{"172.0.0.0/8", "172.31.0.1", false},
		{"192.168.0.0/16", "192.168.1.1", true},
		{"192.0.0.0/8", "192.168.1.1", false},
		{"198.18.0.0/15", "198.19.0.1", true},
		{"168.63.129.16/32", "168.63.129.16", true},
		{"168.63.129.0/24", "168.63.129.16", false},
		{"127.0.0.0/8", "127.0.0.1", true},
		{"127.0.0.0/8", "::1", false},
		{"0.0.0.0/8", "0.0.0.0", true},
		{"0.0.0.0/8", "::", false},
	}
	for _, tt := range tests {
		if got := set(t, "allow x.com "+tt.entry).Address(target(t, "x.com"), netip.MustParseAddr(tt.addr)); got.Allowed != tt.want {
			t.Errorf("%s by %s: %+v", tt.addr, tt.entry, got)
		}
	}
}

func TestAddressIPv6(t *testing.T) {
	for text, want := range map[string]bool{
		"2001:db8::1": true, "2606:4700::1111": true, "2a00:1450::1": true, "3fff::1": true, "2001:1::1": true, "64:ff9b::808:808": true,
		"2002:808:808::1": true, "2001:0:808:808::f7f7:f7f7": true, "::ffff:0:808:808": true,

		"::": false, "::1": false, "::1%lo": false, "fc00::1": false, "fd00:ec2::254": false, "fdff::": false, "fe80::1": false, "fe80::1%eth0": false,
		"febf::": false, "fec0::1": false, "feff::": false, "ff02::1": false, "ff0e::1": false, "100::1": false, "64:ff9b:1::808:808": false,
		"64:ff9b:1:808:8:800::": false, "64:ff9b::1:808:808": false, "1fff::1": false, "4000::1": false, "5f00::1": false,
		"2001:0:7f00:1::f7f7:f7f7": false, "2001:0:808:808::80ff:fffe": false, "::ffff:0:7f00:1": false, "::ffff:7f00:1%eth0": false,
	} {
		for _, rules := range []string{"", "allow x.com 0.0.0.0/0"} {
			if got := set(t, rules).Address(target(t, "x.com"), netip.MustParseAddr(text)); got.Allowed != want {
				t.Errorf("{%s} %s: %+v", rules, text, got)
			}
		}
	}
}

func TestAddressWithoutOne(t *testing.T) {
	if got := (rule.Set{}).Address(target(t, "x.com"), netip.Addr{}); got.Allowed || got.Reason == "" {
		t.Errorf("%+v", got)
	}
}
