package swap

import (
	"fmt"
	"net/url"
	"strings"
)

func asIs(s string) string { return s }

// queryValue escapes s for a query. A space is %20, which those that read forms and those
// that read URLs understand alike.
func queryValue(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// jsonText escapes s for the inside of a JSON string. Unlike encoding/json it keeps bytes
// that are not UTF-8 as they are.
func jsonText(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < 0x20:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// fitsHeader reports whether a header can carry s: net/http refuses control characters,
// and a line break would be the start of another header.
func fitsHeader(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
