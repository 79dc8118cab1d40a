package scripted

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
)

// span is a piece of the request's own bytes, not a copy of them.
type span []byte

// UnmarshalJSON keeps data, which stays as it is for as long as the request is answered.
func (s *span) UnmarshalJSON(data []byte) error {
	*s = data
	return nil
}

// isSet reports whether there is a value that means something.
func (s span) isSet() bool { return len(s) > 0 && string(s) != "null" && string(s) != `""` }

// each decodes the elements of an array one by one, so that an array of millions of
// empty ones takes no more memory than its text. array must be valid JSON.
func each[T any](array []byte, do func(T) error) error {
	if len(array) == 0 || array[0] != '[' {
		return errors.New("not an array")
	}
	for element := range elements(array) {
		var v T
		if err := json.Unmarshal(element, &v); err != nil {
			return err
		}
		if err := do(v); err != nil {
			return err
		}
	}
	return nil
}

// eachIfAny is each for what may also be null or missing.
func eachIfAny[T any](array []byte, do func(T) error) error {
	if len(array) == 0 || string(array) == "null" {
		return nil
	}
	return each(array, do)
}

// elements are the pieces of a valid JSON array.
func elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		depth, start := 0, 1
		for i := 0; i < len(array); i++ {
			switch array[i] {
			case '"':
				i += stringEnd(array[i:])
			case '[', '{':
				depth++
			case ',':
				if depth == 1 {
					if !yield(array[start:i]) {
						return
					}
					start = i + 1
				}
			case ']', '}':
				depth--
			}
		}
		if last := array[start : len(array)-1]; len(bytes.TrimSpace(last)) > 0 {
			yield(last)
		}
	}
}

// stringEnd is where the valid JSON string at the start of data ends.
func stringEnd(data []byte) int {
	for i := 1; ; {
		i += bytes.IndexByte(data[i:], '"')
		slashes := 0
		for data[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
		i++
	}
}
