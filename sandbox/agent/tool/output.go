package tool

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

const (
	keepHead  = 16 << 10 // bytes of a command's output that the model sees of the beginning
	keepTail  = 16 << 10 // and of the end
	fileLimit = 64 << 20 // bytes of output that are kept in a file
)

// output takes the output of a command in bounded memory: its beginning, its end, and,
// when there is more, the whole in a file.
type output struct {
	dir string // for the file

	mu    sync.Mutex // guards the rest
	head  []byte
	tail  []byte // the last keepTail bytes after head, and up to as many before them
	total int64
	file  *os.File // nil until head and tail do not hold everything
	err   error    // why the file does not grow
}

// Write never fails: a command is not to notice what becomes of its output.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.total+int64(len(p)) > keepHead+keepTail {
		o.spill(p)
	}
	o.total += int64(len(p))
	n := min(len(p), keepHead-len(o.head))
	o.head = append(o.head, p[:n]...)
	o.tail = append(o.tail, p[n:]...)
	if extra := len(o.tail) - keepTail; extra > keepTail {
		o.tail = append(o.tail[:0], o.tail[extra:]...)
	}
	return len(p), nil
}

// spill writes p to the file, after all that came before it.
func (o *output) spill(p []byte) {
	if o.file == nil && o.err == nil {
		if o.file, o.err = createTemp(o.dir, "output-*.txt"); o.err == nil {
			_, o.err = o.file.Write(slices.Concat(o.head, o.tail))
		}
	}
	if o.err == nil && o.total < fileLimit {
		_, o.err = o.file.Write(p)
	}
}

// createTemp makes a file in dir, which it makes too when need be.
func createTemp(dir, pattern string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.CreateTemp(dir, pattern)
}

// close ends the file. What is written later is counted and forgotten.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		o.file.Close()
	}
	o.err = os.ErrClosed
}

// text is the output so far as valid UTF-8, its middle replaced by a note when it is
// long. cut reports whether it is.
func (o *output) text() (text string, cut bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	head, tail := o.head, o.tail[max(0, len(o.tail)-keepTail):]
	if int64(len(head)+len(tail)) == o.total {
		return strings.ToValidUTF8(string(head)+string(tail), "\uFFFD"), false
	}
	if i := bytes.LastIndexByte(head, '\n'); i >= 0 {
		head = head[:i+1]
	}
	if i := bytes.IndexByte(tail, '\n'); i >= 0 && i < len(tail)-1 {
		tail = tail[i+1:]
	}
	where := "the rest is lost"
	switch {
	case o.file != nil && o.total > fileLimit:
		where = fmt.Sprintf("the first %d MiB are in %s", fileLimit>>20, o.file.Name())
	case o.file != nil:
		where = "the whole output is in " + o.file.Name()
	}
	note := fmt.Sprintf("\n... [%d of %d bytes left out; %s] ...\n\n", o.total-int64(len(head)+len(tail)), o.total, where)
	return strings.ToValidUTF8(string(head)+note+string(tail), "\uFFFD"), true
}
