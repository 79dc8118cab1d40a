package scripted

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// when says which calls a turn answers. user looks at what the user wrote last, tool at
// the results of the tool calls just made. Without tool, the user must have spoken last.
type when struct {
	User       string `yaml:"user"`
	Tool       string `yaml:"tool"`
	UserRegexp string `yaml:"user_regexp"`
	ToolRegexp string `yaml:"tool_regexp"`
	user, tool *regexp.Regexp
}

func (w *when) compile() (err error) {
	if *w == (when{}) {
		return errors.New("needs one of user, user_regexp, tool and tool_regexp")
	}
	if w.user, err = regexp.Compile(w.UserRegexp); err != nil {
		return fmt.Errorf("user_regexp: %w", err)
	}
	if w.tool, err = regexp.Compile(w.ToolRegexp); err != nil {
		return fmt.Errorf("tool_regexp: %w", err)
	}
	return nil
}

func (w *when) aboutTool() bool { return w.Tool != "" || w.ToolRegexp != "" }

func (w *when) fitsUser(text string) bool {
	return strings.Contains(text, w.User) && w.user.MatchString(text)
}

func (w *when) fitsTool(text string) bool {
	return strings.Contains(text, w.Tool) && w.tool.MatchString(text)
}

// scene is what has been said up to a point of a conversation.
type scene struct {
	user    string
	results []string // of tools, since the last answer
	said    bool     // the user spoke last
}

func (s *scene) hear(m message) {
	switch m.role {
	case roleUser:
		s.user, s.said, s.results = m.content.last(), true, nil
	case roleTool:
		s.results, s.said = append(s.results, m.content.all()), false
	case roleAssistant:
		s.results, s.said = nil, false
	}
}

func (s *scene) tool() string { return strings.Join(s.results, "\n") }

// next returns the index of the turn that answers the conversation. It goes through the
// whole of it, to tell answers of turns with when, which use up none, from the others.
func (s *script) next(name string, messages []message) (int, error) {
	var now scene
	var given int // answers that turns without when gave
	fits := newMatcher(s.Turns)
	for _, m := range messages {
		if m.role == roleAssistant && fits.first(&now) < 0 {
			given++
		}
		now.hear(m)
		fits.hear(&now, m.role)
	}
	if i := fits.first(&now); i >= 0 {
		return i, nil
	}
	return s.plain(name, given)
}

// plain returns the turn without when that comes after given others.
func (s *script) plain(name string, given int) (int, error) {
	var plain []int
	for i, t := range s.Turns {
		if t.When == nil {
			plain = append(plain, i)
		}
	}
	switch {
	case given < len(plain):
		return plain[given], nil
	case s.Loop:
		return plain[given%len(plain)], nil
	case len(plain) > 0 && s.Turns[plain[len(plain)-1]].Repeat:
		return plain[len(plain)-1], nil
	case len(plain) == 0:
		return 0, invalid("script_ended", "the script %s has no turn for this: none without when, and no when fits", name)
	default:
		return 0, invalid("script_ended", "the script %s has ended: call %d of the conversation, but %d turns to play in order; add turns or set loop: true",
			name, given+1, len(plain))
	}
}

// matcher remembers which turns fit. A text is looked at once, when it is heard, so that
// a long conversation costs its length times the number of turns.
type matcher struct {
	turns      []turn
	user, tool []bool
}

func newMatcher(turns []turn) *matcher {
	m := &matcher{turns: turns, user: make([]bool, len(turns)), tool: make([]bool, len(turns))}
	for i, t := range turns {
		m.user[i] = t.When != nil && t.When.fitsUser("") // until the user speaks
	}
	return m
}

func (m *matcher) hear(now *scene, role string) {
	for i, t := range m.turns {
		switch {
		case t.When == nil:
		case role == roleUser:
			m.user[i], m.tool[i] = t.When.fitsUser(now.user), false
		case role == roleTool && t.When.aboutTool():
			m.tool[i] = m.tool[i] || t.When.fitsTool(now.results[len(now.results)-1])
		case role == roleAssistant:
			m.tool[i] = false
		}
	}
}

// first is the first turn with when that fits now, or -1.
func (m *matcher) first(now *scene) int {
	for i, t := range m.turns {
		if t.When == nil || !m.user[i] {
			continue
		}
		if t.When.aboutTool() && m.tool[i] || !t.When.aboutTool() && now.said {
			return i
		}
	}
	return -1
}

// answer is what the turn says to req.
func (t *turn) answer(req *request) answer {
	var now scene
	for _, m := range req.messages {
		now.hear(m)
	}
	plain := strings.NewReplacer("{{last_user}}", now.user, "{{last_tool}}", now.tool())
	quoted := strings.NewReplacer("{{last_user}}", inJSON(now.user), "{{last_tool}}", inJSON(now.tool()))
	a := answer{
		reasoning: plain.Replace(t.Reasoning), text: plain.Replace(t.Text),
		finish: t.Finish, delay: t.Delay, between: t.ChunkDelay, fault: t.fault(),
	}
	for _, c := range t.ToolCalls {
		a.calls = append(a.calls, call{name: c.Name, arguments: quoted.Replace(c.encoded)})
	}
	if u := t.Usage; u != nil {
		a.usage = &Usage{Prompt: u.Prompt, Completion: u.Completion, Cached: u.Cached, Reasoning: u.Reasoning}
	}
	return a
}

// fault is what the turn lets go wrong in its answer, beside an error; nil: nothing.
func (t *turn) fault() *fault {
	switch {
	case t.Cut != nil:
		return &fault{kind: faultCut, after: *t.Cut}
	case t.Malformed != nil:
		return &fault{kind: cmp.Or(t.Malformed.Kind, faultJSON), after: t.Malformed.After}
	default:
		return nil
	}
}

// fail is what the turn says to req when its error is due.
func (t *turn) fail(req *request) answer {
	failure := t.Error.failure()
	if t.Error.After == nil || !req.stream {
		return answer{delay: t.Delay, failure: failure}
	}
	a := t.answer(req)
	a.fault = &fault{kind: faultError, after: *t.Error.After, failure: failure}
	return a
}

// inJSON is text as it stands between the quotes of a JSON string.
func inJSON(text string) string {
	quoted := marshal(text)
	return string(quoted[1 : len(quoted)-1])
}

func (e *scriptError) failure() *Error {
	kind := "api_error"
	switch {
	case e.Status == http.StatusTooManyRequests:
		kind = "rate_limit_error"
	case e.Status < http.StatusInternalServerError:
		kind = "invalid_request_error"
	}
	return &Error{
		Status: e.Status, Type: cmp.Or(e.Type, kind), Own: e.Type != "", Code: e.Code,
		Message: cmp.Or(e.Message, statusText(e.Status)), RetryAfter: e.RetryAfter,
	}
}

func statusText(status int) string {
	if status == statusOverloaded {
		return "Overloaded"
	}
	return cmp.Or(http.StatusText(status), "error of the script")
}
