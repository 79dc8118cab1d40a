package api

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxIssues  = 20   // in one answer
	keptIssues = 1000 // of a body, which may be an array of millions of wrong elements
	quoteLimit = 60   // characters of what the client sent, repeated to it
)

// issues collects all that is wrong with a request body.
type issues struct {
	list     []issue
	more     int      // how many are not in list
	mistyped []string // paths of values of a wrong type, of which nothing more is said
}

type issue struct {
	rank int // place of the member in the body
	text string
}

func (is *issues) add(rank int, path, format string, args ...any) {
	if len(is.list) == keptIssues {
		is.more++
		return
	}
	if slices.Contains(is.mistyped, path) {
		return
	}
	is.list = append(is.list, issue{rank, path + ": " + fmt.Sprintf(format, args...)})
}

// err is the answer to a body with issues, in the order of the body, what is missing
// last; nil when there are none.
func (is *issues) err() error {
	if len(is.list) == 0 {
		return nil
	}
	slices.SortStableFunc(is.list, func(a, b issue) int { return a.rank - b.rank })
	texts := make([]string, 0, maxIssues+1)
	for i, one := range is.list {
		if i == maxIssues {
			texts = append(texts, fmt.Sprintf("and %d more", len(is.list)-maxIssues+is.more))
			break
		}
		texts = append(texts, one.text)
	}
	return invalid("%s", strings.Join(texts, "; "))
}

// last is the rank of what is not in the body.
const last = math.MaxInt32

// clip shortens what the client sent, to be repeated to it.
func clip(text string) string {
	if utf8.RuneCountInString(text) <= quoteLimit {
		return text
	}
	return string([]rune(text)[:quoteLimit-1]) + "…"
}
