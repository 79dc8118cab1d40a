package ca

import (
	"fmt"
	"net/netip"
	"strings"
)

// normalize returns host as it stands in a certificate: in lower case, without the dot at
// the end of a full name, without brackets. Wildcards are refused: one would speak for
// hosts that nobody has judged.
func normalize(host string) (string, error) {
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.WithZone("").String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if len(name) > 253 {
		return "", fmt.Errorf("%.60q… is longer than a host name can be", host)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("%q is no host name", host)
		}
	}
	return name, nil
}
