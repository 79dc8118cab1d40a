package api

import (
	"strings"
	"unicode/utf8"
)

// cut shortens text to n characters and a sign that there is more.
func cut(text string, n int) string {
	if len(text) <= n || utf8.RuneCountInString(text) <= n {
		return text
	}
	for i := range text {
		if n == 0 {
			return text[:i] + "…"
		}
		n--
	}
	return text
}

// oneLine is text in one line of bounded length.
func oneLine(text string) string {
	line := strings.Join(strings.Fields(text), " ")
	if len(line) > detailLength {
		line = strings.ToValidUTF8(line[:detailLength], "") + "…"
	}
	return line
}
