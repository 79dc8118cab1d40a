package audit

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// pieceSize is how much of a secret is looked for at once. Its beginning and its end are
// looked for apart, so that a secret that was cut off is found, too.
const pieceSize = 16

// needles are all spellings of both ends of a secret.
func needles(name string, value []byte) []needle {
	var list []needle
	known := map[string]bool{}
	for end, piece := range [][]byte{value[:pieceSize], value[len(value)-pieceSize:]} {
		for _, s := range spellings(piece) {
			if !known[s.text] {
				known[s.text] = true
				list = append(list, needle{name, s.name, end, []byte(s.text)})
			}
		}
	}
	return list
}

type spelling struct{ name, text string }

// spellings are the ways in which a text is written by programs that hand it on.
func spellings(piece []byte) []spelling {
	list := []spelling{
		{"plain", string(piece)},
		{"hex", hex.EncodeToString(piece)},
		{"hex", strings.ToUpper(hex.EncodeToString(piece))},
		{"URL-encoded", escaped(piece, "%%%02X")},
		{"URL-encoded", escaped(piece, "%%%02x")},
		{"JSON-escaped", escaped(piece, `\u%04x`)},
	}
	for lead := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			list = append(list, spelling{"base64", inner(enc, piece, lead)})
		}
	}
	return list
}

// escaped writes each byte in the given format.
func escaped(piece []byte, format string) string {
	var b strings.Builder
	for _, c := range piece {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

// inner returns the characters of the base64 of a text that depend on nothing but piece,
// which begins at a position of it that leaves the remainder lead when divided by three.
func inner(enc *base64.Encoding, piece []byte, lead int) string {
	coded := enc.EncodeToString(append(make([]byte, lead), piece...))
	return coded[(8*lead+5)/6 : 8*(lead+len(piece))/6]
}
