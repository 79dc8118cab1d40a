//go:build linux

package guest

import (
	"context"
	"net/http"
	"os"
)

// readDiff answers GET /diff. What goes wrong after the first byte ends the connection.
func (g *Guest) readDiff(w http.ResponseWriter, r *http.Request) error {
	if err := os.MkdirAll(g.places.scratch, 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(g.places.scratch, "diff-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	repo, err := g.openRepository(r.Context(), tmp)
	if err != nil {
		return err
	}
	if err := repo.stage(r.Context()); err != nil {
		return err
	}
	out := &diffWriter{ResponseWriter: w}
	err = repo.diff(r.Context(), out)
	switch {
	case err == nil:
		w.Header().Set("Content-Type", diffType) // there may have been nothing to write
	case out.begun:
		g.abort(r, "diff not sent", g.places.work, err)
	}
	return err
}

const diffType = "text/x-diff"

// A diffWriter knows whether the answer has begun.
type diffWriter struct {
	http.ResponseWriter
	begun bool
}

func (w *diffWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.begun = true
		w.Header().Set("Content-Type", diffType)
	}
	return w.ResponseWriter.Write(p)
}

// diff writes what has changed since HEAD; before the first commit that is everything.
func (r *repository) diff(ctx context.Context, w *diffWriter) error {
	return r.run(ctx, w, "diff", "--cached", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
}
