package api

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"
)

// The functions here take JSON apart without copying it: bodies can hold attachments
// of many megabytes. They work on text that json.Valid has accepted, and on no other.

// skipSpace returns where the next token begins.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns where the string that begins at i ends.
func skipString(b []byte, i int) int {
	for i++; ; i++ {
		i += bytes.IndexByte(b[i:], '"')
		escapes := 0
		for b[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i + 1
		}
	}
}

// skipValue returns where the value that begins at i ends.
func skipValue(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		default: // a character of a number, true, false or null, or between values
			i++
			if depth == 0 && i < len(b) && strings.IndexByte(",}] \t\n\r", b[i]) < 0 {
				continue
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// elements yields the elements of an array.
func elements(b []byte) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for i := skipSpace(b, 1); b[i] != ']'; i = skipComma(b, i) {
			end := skipValue(b, i)
			if !yield(b[i:end:end]) {
				return
			}
			i = end
		}
	}
}

// members yields the names, as JSON strings, and the values of an object.
func members(b []byte) iter.Seq2[json.RawMessage, json.RawMessage] {
	return func(yield func(name, value json.RawMessage) bool) {
		for i := skipSpace(b, 1); b[i] != '}'; i = skipComma(b, i) {
			nameEnd := skipString(b, i)
			start := skipSpace(b, skipSpace(b, nameEnd)+1) // over the colon
			end := skipValue(b, start)
			if !yield(b[i:nameEnd:nameEnd], b[start:end:end]) {
				return
			}
			i = end
		}
	}
}

// skipComma returns where the next element begins, or the closing bracket is.
func skipComma(b []byte, i int) int {
	if i = skipSpace(b, i); b[i] == ',' {
		i = skipSpace(b, i+1)
	}
	return i
}
