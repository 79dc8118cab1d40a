package api

import (
	"net/http"
	"net/url"
	"strings"

	"lap/db"
)

// A harnessRoute is the path of a request to a harness, in segments.
type harnessRoute []string

// harnessPath returns what follows /opencode/ in the escaped path of a request.
func harnessPath(escaped string) (harnessRoute, error) {
	const before = 7 // "", api, v1, managed_agents, sessions, {session_id}, opencode
	segments := strings.Split(escaped, "/")
	if len(segments) <= before || segments[before-1] != "opencode" {
		return nil, &requestError{http.StatusNotFound, "not found"} // an id or a name with escaped slashes
	}
	path := make(harnessRoute, 0, len(segments)-before)
	for _, s := range segments[before:] {
		text, err := url.PathUnescape(s)
		if err != nil {
			return nil, invalid("invalid path")
		}
		for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '/' || r == '\\' }) {
			if part == "." || part == ".." {
				return nil, invalid("invalid path: %q is not allowed in it", part)
			}
		}
		path = append(path, text)
	}
	return path, nil
}

// String is the path in its escaped form.
func (p harnessRoute) String() string {
	escaped := make([]string, len(p))
	for i, s := range p {
		escaped[i] = url.PathEscape(s)
	}
	return strings.Join(escaped, "/")
}

// send reports whether a request is a message to the session, and to which route.
func (p harnessRoute) send(method string, s db.Session) (route string, ok bool) {
	if method != http.MethodPost || len(p) != 3 || p[0] != "session" || s.HarnessSessionID == nil || p[1] != *s.HarnessSessionID {
		return "", false
	}
	return p[2], p[2] == "message" || p[2] == "prompt_async"
}

// isThread reports whether a request asks for the messages of a session.
func (p harnessRoute) isThread(method string) bool {
	return method == http.MethodGet && len(p) == 3 && p[0] == "session" && p[2] == "message"
}
