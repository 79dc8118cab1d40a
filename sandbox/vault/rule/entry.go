package rule

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// An Entry is one host entry of a list: a name, "*." and a name, an IPv4 address, or a
// range of them. The zero Entry matches nothing.
type Entry struct {
	name   string
	wild   bool         // name and all names below it
	prefix netip.Prefix // in place of name
}

// ParseEntry parses a host entry of at most 253 characters: a name in ASCII, "*." and a name,
// an IPv4 address, or an IPv4 address and a prefix length. Names may be in any case and
// have a last dot. Addresses have four decimal numbers without leading zeros, since
// whoever writes 010.0.0.1 may mean either of two; IPv6, ports and blanks are errors.
func ParseEntry(text string) (Entry, error) {
	e, err := parseEntry(text)
	if err != nil {
		return Entry{}, fmt.Errorf("host entry %.100q %w", text, err)
	}
	return e, nil
}

func parseEntry(text string) (Entry, error) {
	if len(text) > maxName {
		return Entry{}, errors.New("is too long")
	}
	if !isASCII(text) {
		return Entry{}, errors.New("is not ASCII: write an international name in its xn-- form")
	}
	if strings.Contains(text, "/") {
		return parseRange(text)
	}
	text, wild := strings.CutPrefix(text, "*.")
	name, err := parseName(text)
	if err != nil {
		return Entry{}, err
	}
	if !endsInNumber(name) {
		return Entry{name: name, wild: wild}, nil
	}
	addr, err := netip.ParseAddr(name)
	if err != nil || wild {
		return Entry{}, errors.New("ends in a number but is not an IPv4 address such as 192.0.2.1")
	}
	return Entry{prefix: netip.PrefixFrom(addr, addr.BitLen())}, nil
}

func parseRange(text string) (Entry, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil || !prefix.Addr().Is4() {
		return Entry{}, errors.New("is not a range of IPv4 addresses such as 192.0.2.0/24")
	}
	return Entry{prefix: prefix.Masked()}, nil
}

// String is the entry in the one form that all its spellings have in common.
func (e Entry) String() string {
	switch {
	case e.prefix.IsSingleIP():
		return e.prefix.Addr().String()
	case e.prefix.IsValid():
		return e.prefix.String()
	case e.wild:
		return "*." + e.name
	default:
		return e.name
	}
}

// MatchName reports whether the entry names a host, given as Target has it. An address
// matches no name: what the name resolves to is for MatchAddr.
func (e Entry) MatchName(name string) bool {
	return e.name != "" && (name == e.name || e.wild && strings.HasSuffix(name, "."+e.name))
}

// MatchAddr reports whether the entry names an address, in its IPv6 form too.
func (e Entry) MatchAddr(addr netip.Addr) bool { return e.prefix.Contains(plain(addr)) }

// Match is MatchName or MatchAddr of a target.
func (e Entry) Match(t Target) bool {
	if t.Name != "" {
		return e.MatchName(t.Name)
	}
	return e.MatchAddr(t.Addr)
}

// Covers reports whether a list of host entries allows all that host, itself an entry,
// names. Address ranges cover only themselves. What does not parse neither covers nor
// is covered.
func Covers(list []string, host string) bool {
	h, err := ParseEntry(host)
	return err == nil && slices.ContainsFunc(list, func(text string) bool {
		e, err := ParseEntry(text)
		return err == nil && (e == h || e.wild && e.MatchName(h.name))
	})
}
