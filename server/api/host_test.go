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
		"0x7f.1", "1.2.3", "300.1.1.1", "*.1.2.3.4", ".x.com", "a..b",
	} {
		if api.ValidHost(entry) {
			t.Errorf("%q is accepted", entry)
		}
	}
}
