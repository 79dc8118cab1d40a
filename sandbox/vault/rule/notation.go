package rule

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

var errNumber = errors.New("ends in a number but is not an address")

// endsInNumber reports whether a name can only be an address. Browsers draw the line
// here as well: no such name is ever looked up.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	set := "0123456789"
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		last, set = hex, set+"abcdef"
	}
	return strings.Trim(last, set) == ""
}

// parseIPv4 understands an address as inet_aton does: one to four parts, decimal, octal
// or hexadecimal, of which the last fills what the others leave.
func parseIPv4(name string) (netip.Addr, error) {
	parts := strings.Split(name, ".")
	if len(parts) > 4 {
		return netip.Addr{}, errNumber
	}
	var addr uint32
	for i, part := range parts {
		bits, shift := 8, 24-8*i
		if i == len(parts)-1 {
			bits, shift = 32-8*i, 0
		}
		n, err := parsePart(part, bits)
		if err != nil {
			return netip.Addr{}, errNumber
		}
		addr |= n << shift
	}
	return netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}), nil
}

func parsePart(part string, bits int) (uint32, error) {
	base := 10
	if hex, ok := strings.CutPrefix(part, "0x"); ok {
		part, base = hex, 16
	} else if len(part) > 1 && part[0] == '0' {
		base = 8
	}
	n, err := strconv.ParseUint(part, base, bits)
	return uint32(n), err
}

func parseIPv6(text string) (netip.Addr, error) {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if text, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, errors.New("has a bracket without another")
		}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return netip.Addr{}, errors.New("is not an IPv6 address; a port or a zone does not belong to it")
	}
	return plain(addr), nil
}

var compatible = netip.MustParsePrefix("::/96")

// plain is addr without a zone, and without the IPv6 form of an IPv4 address.
func plain(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("").Unmap()
	if compatible.Contains(addr) && !addr.IsUnspecified() && !addr.IsLoopback() {
		return embedded(addr, 12)
	}
	return addr
}

// embedded is the IPv4 address in the bytes of an IPv6 one from a place on.
func embedded(addr netip.Addr, from int) netip.Addr {
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[from : from+4]))
}
