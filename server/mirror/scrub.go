package mirror

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// userInfo matches what stands before the host in a URL, such as that of a proxy.
var userInfo = regexp.MustCompile(`([a-z][a-z0-9+.-]*://)[^/@\s']*@`)

// scrub takes out of what git said all that is secret, and all that the remote side had
// put in.
func (r Repo) scrub(said string) string {
	var kept []string
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "remote:") {
			kept = append(kept, line)
		}
	}
	text := userInfo.ReplaceAllString(strings.Join(kept, ""), "$1")
	if r.Token == "" {
		return text
	}
	for _, form := range []string{
		base64.StdEncoding.EncodeToString([]byte(r.user() + ":" + r.Token)),
		url.QueryEscape(r.Token), url.PathEscape(r.Token), r.Token,
	} {
		text = strings.ReplaceAll(text, form, "***")
	}
	return text
}

// access matches what curl's reason is wrapped in.
var access = regexp.MustCompile(`^unable to access '[^']*': `)

// reason is the line that tells most: git's last word, without its label.
func reason(said string) string {
	best := "it gave no reason"
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line != "" && (strings.HasPrefix(line, "fatal: ") || !strings.HasPrefix(best, "fatal: ")) {
			best = line
		}
	}
	best = strings.TrimPrefix(strings.TrimPrefix(best, "fatal: "), "error: ")
	return strings.TrimSuffix(cutLine(access.ReplaceAllString(best, "")), ".")
}

// cutLine makes foreign text fit for a sentence.
func cutLine(text string) string {
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
	const most = 200
	if cut := []rune(text); len(cut) > most {
		return string(cut[:most]) + "…"
	}
	return text
}
