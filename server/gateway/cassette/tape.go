package cassette

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

const (
	maxLoaded  = 2 * MaxFile // bytes of the files that are kept in memory
	maxCursors = 1 << 14
)

// tape is a cassette as it was read.
type tape struct {
	name  string
	stamp stamp
	calls []Call
	at    map[string][]int // calls by the text of their requests
}

// cursor is where somebody is among calls with equal requests.
type cursor struct{ who, name, text string }

// Find returns the call whose request is the same. Of several, who gets one after the
// other in the order of the file, and then the last again and again; that is remembered
// until lap ends. An error is an *Error, which shows the nearest call when none is the
// same.
func (f *Folder) Find(name, who string, r Request) (Call, error) {
	if err := CheckName(name); err != nil {
		return Call{}, err
	}
	t, err := f.load(name)
	if err != nil {
		return Call{}, err
	}
	same := t.at[r.Text]
	switch len(same) {
	case 0:
		return Call{}, f.miss(t, r)
	case 1:
		return t.calls[same[0]], nil
	}
	return t.calls[same[f.turn(cursor{who, name, r.Text}, len(same))]], nil
}

// turn is which of n equal calls comes now.
func (f *Folder) turn(c cursor, n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.cursors) >= maxCursors {
		clear(f.cursors)
	}
	now := f.cursors[c]
	f.cursors[c] = now + 1
	return min(now, n-1)
}

// load returns a cassette as it is now, or an *Error.
func (f *Folder) load(name string) (*tape, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, f.unknown(name)
	}
	if err != nil {
		return nil, f.damaged(name, err)
	}
	i := slices.IndexFunc(f.loaded, func(t *tape) bool { return t.name == name })
	if i >= 0 {
		t := f.loaded[i]
		f.loaded = slices.Delete(f.loaded, i, i+1)
		if t.stamp == stampOf(info) {
			f.loaded = append(f.loaded, t)
			return t, nil
		}
	}
	t, err := f.read(name)
	if err != nil {
		return nil, f.damaged(name, err)
	}
	f.noteSound(name, t.stamp)
	f.loaded = append(f.loaded, t)
	for total := int64(0); len(f.loaded) > 1; f.loaded = f.loaded[1:] {
		total = 0
		for _, t := range f.loaded {
			total += t.stamp.size
		}
		if total <= maxLoaded {
			break
		}
	}
	return t, nil
}

func (f *Folder) unknown(name string) error {
	known := "there are none"
	if names := f.Names(); len(names) > 0 {
		known = "there are " + strings.Join(names[:min(len(names), 20)], ", ")
	}
	return failed(CodeNotFound, "there is no cassette %s (%s): record it first with the model record/%s/<model>", f.shown(name), known, name)
}

func (f *Folder) read(name string) (*tape, error) {
	file, err := os.Open(f.path(name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxFile {
		return nil, fmt.Errorf("the file is larger than %d MiB", MaxFile>>20)
	}
	t := &tape{name: name, stamp: stampOf(info), at: map[string][]int{}}
	err = Decode(io.LimitReader(file, MaxFile), func(c Call) {
		c.Request.body = nil // the text says it all
		t.at[c.Request.Text] = append(t.at[c.Request.Text], len(t.calls))
		t.calls = append(t.calls, c)
	})
	return t, err
}
