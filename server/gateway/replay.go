package gateway

import (
	"io"
	"maps"
	"net/http"
	"strings"
)

// replay answers a call from a cassette. It counts as the recorded one did.
func (g *Gateway) replay(w http.ResponseWriter, r *http.Request, t target, tp tape, b *body, a asked) error {
	request, err := g.canonical(r, t, tp, b, nil)
	if err != nil {
		return err
	}
	found, err := g.cassettes.Find(tp.cassette, b.owner, request)
	if err != nil {
		return err
	}
	tp.model = found.Model
	a.models, t.models = names{replayPrefix + tp.cassette + "/" + tp.model}, nil
	c, err := g.admit(r, t, b, a)
	if err != nil {
		return err
	}
	defer c.drop()
	c.addUsage()
	res := &http.Response{StatusCode: found.Answer.Status, Header: http.Header{}}
	for _, name := range keptHeaders { // whatever else somebody wrote into the file
		if v, ok := found.Answer.Headers[name]; ok {
			res.Header.Set(name, v)
		}
	}
	res.Body = io.NopCloser(&playback{rest: found.Answer.Body, events: formatOf(res.Header) == formatEvents})
	c.watch(res)
	defer res.Body.Close()
	pass(w, res)
	return nil
}

// pass writes an answer in the pieces in which it is read.
func pass(w http.ResponseWriter, res *http.Response) {
	maps.Copy(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	out := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(buf)
		if n > 0 {
			if _, gone := w.Write(buf[:n]); gone != nil || out.Flush() != nil {
				return // a client that left needs no answer
			}
		}
		if err != nil {
			return
		}
	}
}

// playback reads a recorded body, a stream of events event by event.
type playback struct {
	rest   string
	events bool
}

func (p *playback) Read(to []byte) (int, error) {
	if p.rest == "" {
		return 0, io.EOF
	}
	piece := p.rest
	if p.events {
		piece = firstEvent(piece)
	}
	n := copy(to, piece)
	p.rest = p.rest[n:]
	return n, nil
}

// firstEvent is the beginning of a stream up to the first blank line, which is the event's
// end.
func firstEvent(stream string) string {
	for at := 0; ; {
		end := strings.IndexByte(stream[at:], '\n')
		if end < 0 {
			return stream
		}
		line := stream[at : at+end]
		at += end + 1
		if strings.TrimSuffix(line, "\r") == "" {
			return stream[:at]
		}
	}
}
