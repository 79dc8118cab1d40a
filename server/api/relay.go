package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// guestURL is where a guest's HTTP API is. Its client leads to one guest only.
const guestURL = "http://guest"

// relaySize is how much of a guest's answer is held at a time.
const relaySize = 32 << 10

// guest returns a client of the guest of a session that is ready, and what gives the
// sandbox back. It goes where it is sent, not where an answer wants it to go.
func (a *API) guest(ctx context.Context, id string) (*http.Client, func(), error) {
	guest, release, err := a.cfg.Engine.Sandbox(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	client := *guest
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client, release, nil
}

// A relay passes a guest's answer on to a client. The headers are the caller's.
type relay struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	limit  time.Duration // for the client to take one write
	stream bool          // the answer comes over time: each piece is passed on at once
}

func (a *API) newRelay(w http.ResponseWriter) *relay {
	return &relay{w: w, rc: http.NewResponseController(w), limit: a.timing.write}
}

// send passes an answer on. Its error is the guest's, and says that nothing was written;
// what breaks off later breaks off the connection, so that nobody takes a part for the
// whole. Only a stream may just end.
func (l *relay) send(r *http.Request, status int, body io.Reader) error {
	buf := make([]byte, relaySize)
	n, err := 0, error(nil)
	if !l.stream {
		if n, err = io.ReadAtLeast(body, buf, 1); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	l.w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	for {
		if writeErr := l.write(buf[:n]); writeErr != nil {
			panic(http.ErrAbortHandler)
		}
		switch {
		case errors.Is(err, io.EOF), err != nil && l.stream:
			return nil
		case err != nil:
			panic(http.ErrAbortHandler)
		}
		n, err = body.Read(buf)
	}
}

func (l *relay) write(b []byte) error {
	_ = l.rc.SetWriteDeadline(time.Now().Add(l.limit)) // a connection without deadlines has other ways to end
	_, err := l.w.Write(b)
	if err == nil && l.stream {
		err = l.rc.Flush()
	}
	return err
}

// An upload is a client's body on its way to a guest. It remembers whether it was the
// client who broke off.
type upload struct {
	io.ReadCloser
	err error
}

// fill makes the upload the body of a request: length bytes, -1: nobody knows.
func (u *upload) fill(req *http.Request, length int64) {
	if length != 0 {
		req.Body, req.ContentLength = u, length
	}
}

func (u *upload) Read(b []byte) (int, error) {
	n, err := u.ReadCloser.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}

// failure says who broke off a request to a guest: its client, or else the guest.
func (u *upload) failure(ctx context.Context, guest error) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(u.err, &large):
		return errTooLarge
	case ctx.Err() != nil:
		return ctx.Err()
	case u.err != nil:
		return invalid("the request body broke off")
	}
	return guest
}

// refusal is the error that a guest's own error stands for.
func refusal(res *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(res.Body, 4*detailLength))
	msg := oneLine(strings.ToValidUTF8(string(text), ""))
	if err != nil || msg == "" {
		msg = "the sandbox answers " + strconv.Itoa(res.StatusCode)
	}
	if res.StatusCode < http.StatusBadRequest || res.StatusCode >= http.StatusInternalServerError {
		return &requestError{http.StatusBadGateway, msg}
	}
	return &requestError{res.StatusCode, msg}
}

// errGuest says that a guest did not answer, or not in full.
var errGuest = &requestError{http.StatusBadGateway, "the sandbox broke off"}
