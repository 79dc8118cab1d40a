package scripted

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

const (
	extension = ".yaml"
	maxScript = 1 << 20 // bytes of a script file
)

// validName cannot leave the folder: it holds no separator and starts with no dot.
var validName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// script is a file of turns. docs/scripted-models.md describes it for its authors.
type script struct {
	Loop  bool   `yaml:"loop"`
	Turns []turn `yaml:"turns"`
}

// turn is one answer. One with When gives it whenever that fits; the others are given
// one after the other.
type turn struct {
	When       *when         `yaml:"when"`
	Reasoning  string        `yaml:"reasoning"`
	Text       string        `yaml:"text"`
	ToolCalls  []toolCall    `yaml:"tool_calls"`
	Finish     string        `yaml:"finish_reason"`
	Usage      *scriptUsage  `yaml:"usage"`
	Delay      time.Duration `yaml:"delay"`
	ChunkDelay time.Duration `yaml:"chunk_delay"`
	Cut        *int          `yaml:"cut"`
	Malformed  *malformed    `yaml:"malformed"`
	Error      *scriptError  `yaml:"error"`
	Repeat     bool          `yaml:"repeat"`
}

type malformed struct {
	After int       `yaml:"after"`
	Kind  faultKind `yaml:"kind"` // "": faultJSON
}

type toolCall struct {
	Name      string `yaml:"name"`
	Arguments any    `yaml:"arguments"` // a mapping, or a string that is sent as it is
	encoded   string
}

type scriptUsage struct {
	Prompt     int `yaml:"prompt_tokens"`
	Completion int `yaml:"completion_tokens"`
	Cached     int `yaml:"cached_tokens"`
	Reasoning  int `yaml:"reasoning_tokens"`
}

type scriptError struct {
	Status     int           `yaml:"status"`
	Type       string        `yaml:"type"`
	Code       string        `yaml:"code"`
	Message    string        `yaml:"message"`
	RetryAfter time.Duration `yaml:"retry_after"`
	Times      int           `yaml:"times"` // 0: always
	After      *int          `yaml:"after"` // characters of a streamed answer; nil: it fails in place of one
}

// Names lists the scripted models there are now, echo first.
func (m *Models) Names() []string {
	names := []string{Prefix + echoName}
	entries, err := os.ReadDir(m.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("scripts folder is not readable", "dir", m.dir, "err", err)
	}
	for _, e := range entries {
		name, isScript := strings.CutSuffix(e.Name(), extension)
		if isScript && validName.MatchString(name) && name != echoName && !e.IsDir() {
			names = append(names, Prefix+name)
		}
	}
	return names
}

// load reads and checks a script. Its error names the file as seen from the folder's
// parent: who asks is in a sandbox and need not know the host's paths.
func (m *Models) load(name string) (*script, error) {
	if !validName.MatchString(name) {
		return nil, invalid("model_not_found", "%.140q is no name of a script: a name has letters, digits and . _ - only", name)
	}
	shown := filepath.Join(filepath.Base(m.dir), name+extension)
	text, err := m.read(name + extension)
	if errors.Is(err, fs.ErrNotExist) {
		e := invalid("model_not_found", "there is no script %s; the scripted models are %s", shown, strings.Join(m.Names(), ", "))
		e.Status = http.StatusNotFound
		return nil, e
	}
	if err == nil {
		var s *script
		if s, err = parseScript(text); err == nil {
			return s, nil
		}
	}
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err
	}
	return nil, invalid("invalid_script", "%s: %v", shown, err)
}

func (m *Models) read(file string) ([]byte, error) {
	f, err := os.Open(filepath.Join(m.dir, file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxScript+1))
	if err == nil && len(text) > maxScript {
		return nil, fmt.Errorf("the file is larger than %d KiB", maxScript>>10)
	}
	return text, err
}

func parseScript(text []byte) (*script, error) {
	var s script
	if err := yaml.Load(text, &s, yaml.WithKnownFields()); err != nil {
		return nil, plainError(err)
	}
	if len(s.Turns) == 0 {
		return nil, errors.New("turns: at least one is needed")
	}
	for i := range s.Turns {
		if err := s.Turns[i].check(); err != nil {
			return nil, fmt.Errorf("turn %d: %w", i+1, err)
		}
	}
	for i, t := range s.Turns {
		following := slices.ContainsFunc(s.Turns[i+1:], func(t turn) bool { return t.When == nil })
		if t.Repeat && (following || s.Loop) {
			return nil, fmt.Errorf("turn %d: repeat: what comes after it is never given", i+1)
		}
	}
	if s.Loop && !slices.ContainsFunc(s.Turns, func(t turn) bool { return t.When == nil }) {
		return nil, errors.New("loop: there is no turn without when to repeat")
	}
	return &s, nil
}

// goNames are how the decoder's errors speak of what a script holds.
var goNames = strings.NewReplacer(
	"time.Duration", "a time such as 250ms or 2s", "[]scripted.turn", "a list of turns", "[]scripted.toolCall", "a list of calls",
	" in type scripted.script", "", " in type scripted.turn", " in a turn", " in type scripted.when", " in when",
	" in type scripted.toolCall", " in a tool call", " in type scripted.scriptError", " in error", " in type scripted.scriptUsage", " in usage",
	" in type scripted.malformed", " in malformed",
	"scripted.", "", "field ", "key ", " not found", " is not known", "cannot construct", "cannot turn",
)

// plainError is the first error of the decoder, for the author of a script.
func plainError(err error) error {
	first, ok := errors.AsType[*yaml.LoadError](err)
	switch {
	case !ok:
		return err
	case first.Mark.Line == 0:
		return errors.New(first.Message)
	default:
		return fmt.Errorf("line %d: %s", first.Mark.Line, goNames.Replace(first.Message))
	}
}
