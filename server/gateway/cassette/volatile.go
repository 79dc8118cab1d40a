package cassette

import (
	"regexp"
	"slices"
	"strings"
)

const (
	monthName = `(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}`
	dayName   = `(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}`
	clock     = `[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?`
	zone      = `(?: ?(?:Z|GMT|UTC|[+-][0-9]{2}:?[0-9]{2}))?`
)

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyz"
)

var months = []string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

// volatile is what differs between two runs of the same work, each with what is put in
// its place. All of it has digits. What a rule puts there, no rule matches: the form of a
// form is itself.
var volatile = []struct {
	hints []string // one of them is part of all that match
	what  *regexp.Regexp
	with  string
	odd   bool // only where it holds both a digit and a letter, as ids do, but not words and numbers
}{
	{[]string{"-"}, regexp.MustCompile(`\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b`), "<uuid>", false},
	{[]string{"_"}, regexp.MustCompile(`\b(?:ses|sess|session|msg|prt|part|call|resp|rs|fc|toolu|srvtoolu|tool|req|run|thread|asst|file|batch|item|conv|cmpl|gen|evt|user|acc|org|proj)_[A-Za-z0-9_]{8,}\b`), "<id>", true},
	{[]string{"-"}, regexp.MustCompile(`\b(?:chatcmpl|call|msg|gen|resp|org|proj)-[A-Za-z0-9_-]{8,}`), "<id>", true},
	{[]string{"-"}, regexp.MustCompile(`\b[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ]|, )` + clock + zone), "<time>", false},
	{months, regexp.MustCompile(`\b` + dayName + `,? (?:[0-9]{1,2} ` + monthName + `|` + monthName + ` +[0-9]{1,2})(?:,? [0-9]{4})?(?:,? ` + clock + zone + `)?(?: [0-9]{4})?\b`), "<date>", false},
	{months, regexp.MustCompile(`\b(?:[0-9]{1,2} ` + monthName + `|` + monthName + ` +[0-9]{1,2}),? (?:[0-9]{4}|` + clock + `)\b`), "<date>", false},
	{[]string{"-"}, regexp.MustCompile(`\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b`), "<date>", false},
	{[]string{"/"}, regexp.MustCompile(`\b[0-9]{4}/[0-9]{2}/[0-9]{2}\b`), "<date>", false},
	{[]string{"/20", ".20"}, regexp.MustCompile(`\b[0-9]{1,2}[/.][0-9]{1,2}[/.]20[0-9]{2}\b`), "<date>", false},
	{[]string{":"}, regexp.MustCompile(`\b[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?\b`), "<time>", false},
	{[]string{"1"}, regexp.MustCompile(`\b1[5-9][0-9]{8}(?:\.[0-9]+|[0-9]{3}|[0-9]{6}|[0-9]{9})?\b`), "<time>", false},
	{[]string{"s"}, regexp.MustCompile(`\b(?:[0-9]+m ?)?(?:[0-9]+\.[0-9]+ ?(?:ns|us|µs|ms|s|seconds?|secs?)|[0-9]+ ?(?:ns|us|µs|ms))\b`), "<duration>", false},
	{[]string{""}, regexp.MustCompile(`\b[0-9a-f]{12,64}\b`), "<hex>", true},
	{[]string{"/tmp/"}, regexp.MustCompile(`/tmp/[A-Za-z0-9_-]*(?:[.-][A-Za-z0-9_-]*)?[0-9]{3}[A-Za-z0-9_-]*`), "/tmp/<temp>", false},
	{[]string{"/tmp/tmp"}, regexp.MustCompile(`/tmp/tmp[.]?[A-Za-z0-9_]{6,}`), "/tmp/<temp>", false},
}

// settle takes out of a text what differs from run to run, and credentials.
func settle(text string) string {
	text = Scrub(text)
	if !strings.ContainsAny(text, digits+"/") {
		return text
	}
	var out strings.Builder
	out.Grow(len(text))
	for line := range strings.Lines(text) {
		for { // what is taken out may leave a word behind that now stands by itself
			settled := settleLine(line)
			if settled == line {
				break
			}
			line = settled
		}
		out.WriteString(line)
	}
	return out.String()
}

// settleLine applies each rule once. It makes a line that it changes shorter, or takes
// digits out of it.
func settleLine(line string) string {
	if !strings.ContainsAny(line, digits) && !strings.Contains(line, "/tmp/") {
		return line
	}
	for _, v := range volatile {
		if !slices.ContainsFunc(v.hints, func(hint string) bool { return strings.Contains(line, hint) }) {
			continue
		}
		line = v.what.ReplaceAllStringFunc(line, func(found string) string {
			if !v.odd || strings.ContainsAny(found, digits) && strings.ContainsAny(found, letters) {
				return v.with
			}
			return found
		})
	}
	return line
}
