// Package cassette keeps calls of models in files and finds them again: the request in a
// form that is the same from run to run, and the answer as it came, both without what
// looks like a credential. It knows neither HTTP nor what a request means.
//
// A file is a stream of YAML documents: one that says what it is, then one for each call.
// docs/cassettes.md describes it for those who read and commit it.
package cassette

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

const (
	// MaxRequest is how many bytes of a request are looked at. Larger ones are refused.
	MaxRequest = 16 << 20
	// MaxAnswer is how many bytes of an answer are kept. Larger ones are not recorded.
	MaxAnswer = 16 << 20
	// MaxFile is how many bytes a cassette may have.
	MaxFile = 64 << 20
	// MaxFiles is how many cassettes a folder may have before nothing more is recorded.
	MaxFiles = 1000
	// MaxTotal is how many bytes they may have together: sandboxes record as they like.
	MaxTotal = 1 << 30

	extension = ".yaml"
)

// Codes of an Error.
const (
	CodeName     = "invalid_cassette_name"
	CodeNotFound = "cassette_not_found"
	CodeDamaged  = "invalid_cassette"
	CodeFull     = "cassette_full"
	CodeRequest  = "unsupported_request"
	CodeMiss     = "replay_miss"
)

// An Error says to who made a call why it cannot be recorded or replayed. Trying again
// does not help.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Message }

func failed(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// A Call is a request with its answer.
type Call struct {
	Model   string // that answered
	Request Request
	Answer  Answer
}

// An Answer is what came back.
type Answer struct {
	Status  int               // of HTTP
	Headers map[string]string // those that matter to who reads Body
	Body    string
}

// A Folder is where the cassettes of one lap are, as files <name>.yaml. Its methods may be
// called at once, and other processes may record into the same folder.
type Folder struct {
	dir string
	log *slog.Logger

	recording sync.Mutex // held while a file is written

	mu      sync.Mutex // guards what follows
	loaded  []*tape    // the one that was used last is the last
	cursors map[cursor]int
	sound   map[string]stamp // of cassettes that were found to be whole, or made so
}

// Open makes a Folder of dir, which need not exist. Files may come, change and go at any
// time.
func Open(dir string, log *slog.Logger) *Folder {
	return &Folder{dir: dir, log: log, cursors: map[cursor]int{}, sound: map[string]stamp{}}
}

// validName cannot leave the folder: it holds no separator and starts with no dot.
var validName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// CheckName returns an error for what cannot be a cassette's name.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return failed(CodeName, "%.140q is no name of a cassette: a name has letters, digits and . _ - only", name)
	}
	return nil
}

// Names lists the cassettes there are now.
func (f *Folder) Names() []string {
	entries, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.log.Warn("cassettes folder is not readable", "dir", f.dir, "err", err)
	}
	var names []string
	for _, e := range entries {
		name, isCassette := strings.CutSuffix(e.Name(), extension)
		if isCassette && validName.MatchString(name) && !e.IsDir() {
			names = append(names, name)
		}
	}
	return names
}

func (f *Folder) path(name string) string { return filepath.Join(f.dir, name+extension) }

// shown is the file as seen from the folder's parent: who asks is in a sandbox and need
// not know the host's paths.
func (f *Folder) shown(name string) string {
	return filepath.Join(filepath.Base(f.dir), name+extension)
}

// damaged says what is wrong with a file, without its path on the host.
func (f *Folder) damaged(name string, err error) error {
	if failure, ok := errors.AsType[*fs.PathError](err); ok {
		err = failure.Err
	}
	return failed(CodeDamaged, "%s: %v", f.shown(name), err)
}
