package swap

import (
	"compress/gzip"
	"io"
)

// A gunzip unpacks src. It begins with the first Read, since the header of the answer must
// not wait for its body, and gives out what src has flushed.
type gunzip struct {
	src io.Reader
	zip *gzip.Reader
	err error
}

// Read implements io.Reader. A body without any byte is an empty one.
func (g *gunzip) Read(b []byte) (int, error) {
	if g.zip == nil && g.err == nil {
		g.zip, g.err = gzip.NewReader(g.src)
	}
	if g.err != nil {
		return 0, g.err
	}
	return g.zip.Read(b)
}
