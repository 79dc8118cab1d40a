package session

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"lap/db"
	"lap/sandbox/vault/rule"
	"lap/sandbox/vault/swap"
)

var (
	// userURL is a URL with a user, whatever stands before and after it in a line. As for
	// pip, what is before the last @ of the authority is the user and the password.
	userURL = regexp.MustCompile(`(?i)(https?://)([^\s/?#]*)@(\[[^\s\]]*\]|[^\s/?#@:;,"'<>()\\]*)`)

	// expanded is what pip puts the value of a variable in the place of.
	expanded = regexp.MustCompile(`\$\{[A-Z0-9_]+\}`)
)

// oauthPassword is what GitHub takes for a password where the user name is a token.
const oauthPassword = "x-oauth-basic"

// requirements are those of an agent as a sandbox sees them: the passwords in their URLs
// are stubs. list are the credentials that these stand for, each bound to the host of
// its URL. The same text has the same stubs each time.
func (e *Engine) requirements(agent db.Agent, sessionID string) (text string, list []credential) {
	if agent.Requirements == nil {
		return "", nil
	}
	type place struct{ value, host string }
	known := map[place]string{}
	text = userURL.ReplaceAllStringFunc(*agent.Requirements, func(found string) string {
		m := userURL.FindStringSubmatch(found)
		scheme, user, host := m[1], m[2], m[3]
		before, secret, after := secretOf(user)
		if secret == "" || expanded.MatchString(secret) {
			return found
		}
		value, err := url.PathUnescape(secret)
		if err != nil { // then pip takes it as it is
			value = secret
		}
		at := place{value, strings.ToLower(host)}
		if known[at] == "" {
			name := "REQUIREMENTS_" + strconv.Itoa(len(known)+1)
			known[at] = e.stub(sessionID, "requirements "+name) // no variable has such a name
			list = append(list, required(swap.Credential{Name: name, Stub: known[at], Value: value}, at.host))
		}
		return scheme + before + known[at] + after + "@" + host
	})
	return text, list
}

// secretOf finds what is secret in user:password.
func secretOf(user string) (before, secret, after string) {
	name, password, has := strings.Cut(user, ":")
	switch {
	case !has:
		return "", name, ""
	case password == "" || password == oauthPassword:
		return "", name, ":" + password
	}
	return name + ":", password, ""
}

// required is a credential for the host of a URL.
func required(c swap.Credential, host string) credential {
	if _, err := rule.ParseEntry(host); err != nil {
		return credential{Credential: c, reason: c.Name + ", a password in requirements, goes to no host: its URL names none that rules can name"}
	}
	return credential{Credential: c, hosts: []string{host}}
}
