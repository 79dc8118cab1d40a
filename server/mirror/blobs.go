package mirror

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
)

// A blobs reads the objects of entries, in their order, from one git.
type blobs struct {
	out  *bufio.Reader
	pipe *io.PipeReader
	done chan struct{} // closed when git has ended
}

// blobs starts a git that prints the objects of all entries that are files or links and
// were not written by convert. The caller closes it.
func (m *mirror) blobs(ctx context.Context, all []entry) *blobs {
	var wanted strings.Builder
	for _, e := range all {
		if e.mode != modeRepo && e.file == "" {
			wanted.WriteString(e.object + "\n")
		}
	}
	r, w := io.Pipe()
	b := &blobs{out: bufio.NewReaderSize(r, 64<<10), pipe: r, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		_, err := m.git.run(ctx, command{dir: m.bare(), stdin: wanted.String(), stdout: w, args: []string{"cat-file", "--batch", "--buffer"}})
		_ = w.CloseWithError(err) // never fails
	}()
	return b
}

// next begins the object of e. What it returns is read to its end before the next one.
func (b *blobs) next(e entry) (io.Reader, int64, error) {
	line, err := b.out.ReadString('\n')
	if err != nil {
		return nil, 0, fmt.Errorf("object %s: %w", e.object, noEOF(err))
	}
	var size int64
	if _, err := fmt.Sscanf(line, e.object+" blob %d\n", &size); err != nil {
		return nil, 0, fmt.Errorf("object %s: git cat-file: %s", e.object, cutLine(strings.TrimSpace(line)))
	}
	return io.LimitReader(b.out, size), size, nil
}

// end skips the line end behind an object.
func (b *blobs) end() error {
	_, err := b.out.Discard(1)
	return noEOF(err)
}

func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // a bare one, from a buffer
		return io.ErrUnexpectedEOF
	}
	return err
}

// close ends git, if it still runs, and waits for it.
func (b *blobs) close() {
	_ = b.pipe.Close() // never fails
	<-b.done
}
