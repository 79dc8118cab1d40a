package gateway

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
)

// EstimateInput is estimateInput, for tests.
var EstimateInput = estimateInput

// ScanUsage is what an answer used that comes in pieces.
func ScanUsage(path, kind string, pieces [][]byte) Usage {
	f := formOpenAI
	switch {
	case strings.Contains(path, "messages"):
		f = formAnthropic
	case strings.Contains(path, "v1beta"):
		f = formGemini
	}
	s := newScan(f, http.Header{"Content-Type": {kind}})
	for _, p := range pieces {
		s.write(p)
	}
	s.end()
	return s.usage(func() int64 { return 1 })
}

// pieceReader reads one piece at a time.
type pieceReader struct{ pieces [][]byte }

func (r *pieceReader) Read(p []byte) (int, error) {
	if len(r.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.pieces[0])
	if r.pieces[0] = r.pieces[0][n:]; len(r.pieces[0]) == 0 {
		r.pieces = r.pieces[1:]
	}
	return n, nil
}

// PassChunks is what passes of a stream whose usage nobody asked for.
func PassChunks(pieces [][]byte) []byte {
	out, err := io.ReadAll(&withoutUsage{ReadCloser: io.NopCloser(&pieceReader{slices.Clone(pieces)})})
	if err != nil {
		panic(err)
	}
	return out
}

// Spliced is a request after it was made to ask for its usage.
func Spliced(request string) string {
	var b bytes.Buffer
	change := includeUsage([]byte(request))
	n, err := io.Copy(&b, change.reader([]byte(request)))
	if err != nil || int(n) != len(request)+change.growth() {
		panic("the length is not what was announced")
	}
	return b.String()
}

// Fake answers instead of the model gateway.
func (p *Prices) Fake(answer func(*http.Request) (*http.Response, error)) {
	p.upstream.transport = roundTrip(answer)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
