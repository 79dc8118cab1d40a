package swap

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Response takes the values of bound credentials out of what a host answers: headers,
// trailers, and the body, streaming. It is called on every answer of a host that could have
// got one. Text gets stubs and loses its Content-Length, unless it is short enough to be
// read whole; in ranges, binary bodies and after an upgrade, values are overwritten with as
// many bytes. Where no length is known, the first three of a value are let through when the
// host pauses in or after them. A gzip body is unpacked. Values of less than eight bytes
// stay. The error is for who sent the request: the answer cannot be read in its encoding.
func (k *Keys) Response(res *http.Response) error {
	s := k.scrub
	if s == nil {
		return nil
	}
	s.header(res.Header)
	s.header(res.Trailer)
	res.Status = s.line(res.Status)
	if res.StatusCode == http.StatusSwitchingProtocols {
		if stream, ok := res.Body.(io.ReadWriteCloser); ok {
			res.Body = upgraded{ReadWriteCloser: stream, masked: s.masked(stream, maskEarly)}
		}
		return nil
	}
	if bodiless(res) {
		if res.Body != nil && res.Body != http.NoBody { // HTTP/2 has trailers there, too
			res.Body = body{&ending{res.Body, func() { s.header(res.Trailer) }}, res.Body}
		}
		return nil
	}
	packed, err := gzipped(res)
	if err != nil {
		return err
	}
	s.body(res, packed)
	return nil
}

// Scrub returns text about an answer, such as why it cannot be understood, without the values
// of bound credentials.
func (k *Keys) Scrub(text string) string {
	if k.scrub == nil {
		return text
	}
	return k.scrub.line(text)
}

func bodiless(res *http.Response) bool {
	return res.Body == nil || res.Body == http.NoBody ||
		res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified ||
		res.Request != nil && res.Request.Method == http.MethodHead
}

// gzipped reports whether the body of res has to be unpacked.
func gzipped(res *http.Response) (bool, error) {
	list := encodings(res.Header)
	if len(list) == 0 {
		return false, nil
	}
	if len(list) > 1 || list[0] != "gzip" && list[0] != "x-gzip" {
		return false, errors.New("the host answers in an encoding that was not asked for and cannot be looked through for credentials") // whose name may be one
	}
	if res.StatusCode == http.StatusPartialContent {
		return false, errors.New("the host answers with a part of a gzip stream, which cannot be looked through for credentials")
	}
	return true, nil
}

// body scrubs the body of res, and its trailers, which are there when it has been read.
func (s *scrubber) body(res *http.Response, packed bool) {
	from := res.Body
	var src io.Reader = from
	early := 0
	if res.ContentLength < 0 { // it may be a conversation, as with gRPC
		early = maskEarly
	}
	if packed {
		src = &gunzip{src: from}
		res.Header.Del("Content-Encoding")
		if tag := res.Header.Get("Etag"); strings.HasPrefix(tag, `"`) {
			res.Header.Set("Etag", "W/"+tag) // the bytes are no longer those of the tag
		}
		unmeasured(res)
	}
	kind, name := mediaOf(res.Header)
	switch {
	case kind == binary || kind == multipart || res.StatusCode == http.StatusPartialContent:
		src = s.masked(src, early)
	case !packed && short(res.ContentLength) && name != "text/event-stream":
		src = s.whole(res, src)
	default:
		src = s.inText(src)
		unmeasured(res)
	}
	res.Body = body{&ending{src, func() { s.header(res.Trailer) }}, from}
}

func unmeasured(res *http.Response) {
	res.ContentLength = -1
	res.Header.Del("Content-Length")
}

// whole reads a short text and sets res to its new length. When that breaks off, what was
// read is followed by the error.
func (s *scrubber) whole(res *http.Response, src io.Reader) io.Reader {
	was, err := io.ReadAll(io.LimitReader(src, maxWhole))
	if err != nil {
		unmeasured(res)
		return s.inText(io.MultiReader(bytes.NewReader(was), broken{err}))
	}
	if _, n, _ := s.m.find(was, true); n == 0 {
		return bytes.NewReader(was)
	}
	length, _ := io.Copy(io.Discard, s.inText(bytes.NewReader(was))) // neither side can fail
	res.ContentLength = length
	res.Header.Set("Content-Length", strconv.FormatInt(length, 10))
	return s.inText(bytes.NewReader(was))
}

// A broken reader has nothing but its error.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// An ending calls done before it says that src has ended.
type ending struct {
	src  io.Reader
	done func()
}

func (e *ending) Read(b []byte) (int, error) {
	n, err := e.src.Read(b)
	if errors.Is(err, io.EOF) {
		e.done()
	}
	return n, err
}

// An upgraded stream is masked in what the host sends.
type upgraded struct {
	io.ReadWriteCloser
	masked io.Reader
}

func (u upgraded) Read(b []byte) (int, error) { return u.masked.Read(b) }

// CloseWrite ends what the client sends, where the stream can do that.
func (u upgraded) CloseWrite() error {
	if c, ok := u.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
