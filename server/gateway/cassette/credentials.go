package cassette

import (
	"regexp"
	"strings"
)

// Secret stands for what looked like a credential.
const Secret = "<secret>"

// credentials are what looks like one, each with what is put in its place. Placeholders
// hold nothing that JSON would escape: they are put into answers as they are on the wire.
var credentials = []struct {
	hint string // is part of all that match, in lower case
	what *regexp.Regexp
	with string
}{
	{"private key", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[^"]*?-----END [A-Z ]*PRIVATE KEY-----`), Secret},
	{"://", regexp.MustCompile(`://[^/\s:"'@<>]*:[^/\s"'@<>]+@`), "://" + Secret + "@"},
	{"bearer", regexp.MustCompile(`(?i)\b(bearer)\s+[A-Za-z._~+/=-]*[0-9][A-Za-z0-9._~+/=-]{6,}`), "$1 " + Secret},
	{"basic", regexp.MustCompile(`(?i)\b(authorization["']?\s*[:=]\s*["']?basic)\s+[A-Za-z0-9+/=_-]{6,}`), "$1 " + Secret},
	{"eyj", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`), Secret},
	{"stub_", regexp.MustCompile(`\bstub_([a-z0-9_]+)_[0-9a-f]{8}\b`), "stub_${1}_00000000"},
	{"k-", regexp.MustCompile(`\b(?:sk|pk|rk)-(?:[A-Za-z0-9_]+-)*[A-Za-z_]*[0-9][A-Za-z0-9_-]{3,}`), Secret},
	{"k_", regexp.MustCompile(`\b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{10,}`), Secret},
	{"gh", regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{16,}`), Secret},
	{"github_pat_", regexp.MustCompile(`\bgithub_pat_[A-Za-z0-9_]{16,}`), Secret},
	{"glpat-", regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{16,}`), Secret},
	{"xox", regexp.MustCompile(`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`), Secret},
	{"hf_", regexp.MustCompile(`\bhf_[A-Za-z0-9]{20,}`), Secret},
	{"npm_", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{30,}`), Secret},
	{"aiza", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{30,}`), Secret},
	{"ia", regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`), Secret},
}

// Scrub takes what looks like a credential out of a text. lap's own stubs become the same
// in every session.
func Scrub(text string) string {
	low := strings.ToLower(text) // to look for words costs much less than to match
	for _, c := range credentials {
		if strings.Contains(low, c.hint) {
			text = c.what.ReplaceAllString(text, c.with)
		}
	}
	return text
}
