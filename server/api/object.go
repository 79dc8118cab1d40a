package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// An object is a JSON object of a request, read member by member. What is wrong is
// collected; its reader asks err once, at the end.
type object struct {
	path    string // of the members: "" or with a dot at its end
	members map[string]value
	*issues
}

// newObject takes apart raw, a valid object. rank is its place in the body; at the top,
// -1, the members get theirs.
func newObject(raw []byte, path string, rank int, is *issues) *object {
	o := &object{path: path, members: map[string]value{}, issues: is}
	n := 0
	for name, text := range members(raw) {
		key := unquote(name)
		at := rank
		if rank < 0 {
			at = n
		}
		o.members[key] = value{raw: text, path: path + key, rank: at, issues: is}
		n++
	}
	return o
}

// missing notes that a member is not there, but must be.
func (o *object) missing(name string) { o.add(last, o.path+name, "is required") }

// has reports whether a member is there.
func (o *object) has(name string) bool {
	_, ok := o.members[name]
	return ok
}

// fail notes that something is wrong with a member.
func (o *object) fail(name, format string, args ...any) {
	rank := last
	if v, ok := o.members[name]; ok {
		rank = v.rank
	}
	o.add(rank, o.path+name, format, args...)
}

// Text reads an optional string, nil when absent.
func (o *object) Text(name string) *string {
	v, ok := o.members[name]
	if !ok {
		return nil
	}
	text, ok := v.text()
	if !ok {
		return nil
	}
	return &text
}

// NonEmpty reads an optional string of at least one character, nil when absent.
func (o *object) NonEmpty(name string) *string {
	text := o.Text(name)
	if text != nil && *text == "" {
		o.fail(name, "must not be empty")
	}
	return text
}

// Required reads a string of at least one character.
func (o *object) Required(name string) string {
	if !o.has(name) {
		o.missing(name)
		return ""
	}
	if text := o.NonEmpty(name); text != nil {
		return *text
	}
	return ""
}

// Nullable reads an optional string or null.
func (o *object) Nullable(name string) optional[string] { return nullable(o, name, o.Text) }

// NullableBool reads an optional boolean or null.
func (o *object) NullableBool(name string) optional[bool] { return nullable(o, name, o.Bool) }

// nullable reads an optional member that is null, or what read reads.
func nullable[T any](o *object, name string, read func(string) *T) optional[T] {
	v, ok := o.members[name]
	switch {
	case !ok:
		return optional[T]{}
	case v.isNull():
		return optional[T]{given: true}
	}
	return optional[T]{given: true, value: read(name)}
}

// Bool reads an optional boolean, nil when absent.
func (o *object) Bool(name string) *bool {
	v, ok := o.members[name]
	if !ok {
		return nil
	}
	is := v.raw[0] == 't'
	if !is && v.raw[0] != 'f' {
		v.mistype("true or false")
		return nil
	}
	return &is
}

// Int reads an optional integer from low to high, nil when absent.
func (o *object) Int(name string, low, high int64) *int64 {
	v, ok := o.members[name]
	if !ok {
		return nil
	}
	n, ok := integral(string(v.raw))
	switch {
	case !ok:
		v.mistype("an integer")
		return nil
	case n > maxExact:
		v.fail("is too large: must be an integer from %d to %d", low, high)
	case n < -maxExact:
		v.fail("is too small: must be an integer from %d to %d", low, high)
	case n < low || n > high:
		v.fail("must be an integer from %d to %d", low, high)
	}
	return &n
}

// Positive reads an optional number above 0, nil when absent.
func (o *object) Positive(name string) *float64 {
	v, ok := o.members[name]
	if !ok {
		return nil
	}
	n, err := strconv.ParseFloat(string(v.raw), 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		v.fail("is too large")
	case err != nil:
		v.mistype("a number")
		return nil
	case n <= 0:
		v.fail("must be greater than 0")
	}
	return &n
}

// Array reads an optional array, nil when absent.
func (o *object) Array(name string) []value {
	v, ok := o.members[name]
	if !ok {
		return nil
	}
	return v.array()
}

// Texts reads an optional array of strings, nil when absent.
func (o *object) Texts(name string) []string {
	v, ok := o.members[name]
	if !ok {
		return nil
	}
	return v.texts()
}

// Object reads an optional object, nil when absent.
func (o *object) Object(name string) *object {
	v, ok := o.members[name]
	if !ok {
		return nil
	}
	return v.object()
}

// names returns the names of the members, sorted.
func (o *object) names() []string {
	names := make([]string, 0, len(o.members))
	for name := range o.members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// A value is one JSON value of a request.
type value struct {
	raw  json.RawMessage
	path string
	rank int
	*issues
}

func (v value) fail(format string, args ...any) { v.add(v.rank, v.path, format, args...) }

// mistype notes that the value is not what it must be: true or false, say.
func (v value) mistype(must string) {
	v.fail("must be %s", must)
	if v.more == 0 {
		v.mistyped = append(v.mistyped, v.path)
	}
}

func (v value) isNull() bool { return v.raw[0] == 'n' }

func (v value) text() (string, bool) {
	if v.raw[0] != '"' {
		v.mistype("a string")
		return "", false
	}
	return unquote(v.raw), true
}

// array returns the elements, not nil, of a value that must be an array.
func (v value) array() []value {
	list := []value{}
	if v.raw[0] != '[' {
		v.mistype("an array")
		return list
	}
	for raw := range elements(v.raw) {
		list = append(list, value{raw: raw, path: v.path + "." + strconv.Itoa(len(list)), rank: v.rank, issues: v.issues})
	}
	return list
}

func (v value) texts() []string {
	list := []string{}
	for _, e := range v.array() {
		if text, ok := e.text(); ok {
			list = append(list, text)
		}
	}
	return list
}

// object returns the value as an object, nil when it is none.
func (v value) object() *object {
	if v.raw[0] != '{' {
		v.mistype("an object")
		return nil
	}
	return newObject(v.raw, v.path+".", v.rank, v.issues)
}

// unquote is the text of a JSON string.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		panic(fmt.Sprintf("unquote %.40q: %v", raw, err)) // the body is valid JSON
	}
	return text
}
