package rule

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxName  = 253
	maxLabel = 63
	maxText  = 4 * maxName // bytes of a name in Unicode that is worth converting
)

// toASCII is what browsers do to names. CheckHyphens and StrictDomainName are off since
// names such as r3---sn-x.example.com and a_b.example.com are in use.
var toASCII = idna.New(
	idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false),
	idna.StrictDomainName(false), idna.CheckHyphens(false),
)

// parseName makes text lower-case ASCII and takes one last dot off. Lengths are for the
// caller to check, and whether the name is an address.
func parseName(text string) (string, error) {
	if len(text) > maxText {
		return "", errors.New("is too long")
	}
	if !utf8.ValidString(text) { // the conversion would name it
		return "", errors.New("is not UTF-8")
	}
	name, err := toASCII.ToASCII(text)
	if err != nil {
		return "", fmt.Errorf("is not a name: %w", err)
	}
	if isASCII(text) && name != strings.ToLower(text) {
		return "", errors.New("has a label that starts with xn-- and is no international one")
	}
	name = strings.TrimSuffix(name, ".")
	for label := range strings.SplitSeq(name, ".") {
		if label == "" {
			return "", errors.New("has an empty label")
		}
		if strings.ContainsFunc(label, func(r rune) bool { return !inName(r) }) {
			return "", errors.New("has a character that no name has")
		}
	}
	if strings.Trim(name, "._-") == "" { // neither side takes it: what can be reached can be denied
		return "", errors.New("has no letter or digit")
	}
	return name, nil
}

// inName is checked after the conversion, which makes a slash, for one, of some characters.
func inName(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

// resolvable reports whether a name fits into DNS.
func resolvable(name string) bool {
	if len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) > maxLabel {
			return false
		}
	}
	return true
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
}
