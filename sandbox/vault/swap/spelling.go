package swap

import (
	"encoding/base64"
	"fmt"
	"html"
	"net/url"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// spellings returns value and the other ways in which answers write it: escaped for URLs,
// JSON and HTML. Some are equal.
func spellings(value string) []string {
	list := []string{value}
	for _, s := range []string{
		url.QueryEscape(value), queryValue(value), url.PathEscape(value), uriComponent(value),
	} {
		list = append(list, s, lowerHex(s))
	}
	plain := jsonText(value)
	list = append(list, plain,
		strings.ReplaceAll(plain, "/", `\/`), // PHP
		htmlSafeJSON.Replace(plain),          // Go
		asciiJSON(plain),                     // Python
	)
	list = append(list, html.EscapeString(value))
	for _, quotes := range [][2]string{
		{"&quot;", "'"}, {"&quot;", "&#39;"}, {"&quot;", "&#039;"}, {"&quot;", "&#x27;"}, {"&quot;", "&apos;"}, {`"`, "'"},
	} {
		list = append(list, strings.NewReplacer(
			"&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, quotes[0], "'", quotes[1],
		).Replace(value))
	}
	return list
}

var htmlSafeJSON = strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`)

// uriComponent escapes as encodeURIComponent of JavaScript does.
func uriComponent(s string) string {
	return strings.NewReplacer("%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*").Replace(queryValue(s))
}

// lowerHex returns the percent-encoded s with its digits in lower case.
func lowerHex(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}

// asciiJSON returns s with \u escapes for all that is not ASCII, or s itself when it is not
// valid UTF-8.
func asciiJSON(s string) string {
	if !utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// inner returns the characters of the base64 of a text that depend on nothing but value,
// which begins at a position of the text that leaves the remainder lead when divided by
// three. Up to four bits of its first and last byte are in the characters around.
func inner(enc *base64.Encoding, value string, lead int) string {
	coded := enc.EncodeToString(append(make([]byte, lead), value...))
	return coded[(8*lead+5)/6 : 8*(lead+len(value))/6]
}
