package api_test

import (
	"strings"
	"testing"

	"lap/server/api"
)

func TestValidHost(t *testing.T) {
	for _, entry := range []string{
		"api.x.com", "*.x.com", "1.2.3.4", "10.0.0.0/8", "0.0.0.0/0", "1.2.3.4/32", "localhost", "a_b.com", "x.com.", "A.COM", strings.Repeat("a", 253),
	} {
		if !api.ValidHost(entry) {
			t.Errorf("%q is refused", entry)
		}
	}
	for _, entry := range []string{
		"a b", "", "http://x", "x:443", "*", "*.", "*x.com", "x.com/", "[::1]", strings.Repeat("a", 254), "..", "-", "x.com/99", "::1",
		"1.2.3.4/33", "1.2.3/8", "300.1.1.1/8", "*.1.2.3.4/8", "1.2.3.4/-1", "1.2.3.4/8/8", "x.com\n", "é.com", "*.*.com", "x*.com", "_._", "010.0.0.0/8",
	} {
		if api.ValidHost(entry) {
			t.Errorf("%q is accepted", entry)
		}
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
		{"x.com", "api.x.com", false},
		{"x.com", "*.x.com", false},
		{"10.0.0.0/8", "10.1.1.1", false},
		{"10.0.0.0/8", "10.0.0.0/8", true},
		{"", "x.com", false},
	}
	for _, tt := range tests {
		if got := api.Covers(strings.Fields(tt.list), tt.host); got != tt.want {
			t.Errorf("%s by %s = %t, want %t", tt.host, tt.list, got, tt.want)
		}
	}
}
