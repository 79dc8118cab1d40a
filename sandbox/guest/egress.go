//go:build linux

package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"lap/sandbox"
	"lap/sandbox/pipe"
)

// maxHost is as long as a host can be: a name of the DNS, or as much of any other.
const maxHost = 255

// proxied sets in env what programs need to find the way out.
func proxied(env environment) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		env[name], env[strings.ToLower(name)] = "http://"+sandbox.ProxyAddr, "http://"+sandbox.ProxyAddr
	}
	env["NO_PROXY"], env["no_proxy"] = "localhost,127.0.0.1,::1", "localhost,127.0.0.1,::1"
	env["NODE_USE_ENV_PROXY"] = "1" // else Node heeds none of these
}

// An egress makes connections to the outside, by the host.
type egress struct {
	link  *link
	names *names
	slots chan struct{} // one for each connection
	idle  func()        // ends connections that nobody uses, to get slots
}

func newEgress(l *link) *egress {
	return &egress{link: l, names: newNames(maxNames), slots: make(chan struct{}, maxOutward), idle: func() {}}
}

// A deniedError is an answer instead of a connection.
type deniedError struct {
	sentence string
	refused  bool // by a rule; else the connection could not be made
}

func (e *deniedError) Error() string { return e.sentence }

// dial asks the host for a connection, and for as long as lap is away waits to. An error
// is a deniedError, or that of ctx.
func (e *egress) dial(ctx context.Context, host string, port int, via string) (*outward, error) {
	host, err := e.target(host)
	if err != nil {
		return nil, err
	}
	request, err := json.Marshal(sandbox.EgressRequest{Host: host, Port: port, Via: via})
	if err != nil {
		return nil, err
	}
	if err := e.take(ctx); err != nil {
		return nil, err
	}
	conn, err := e.connect(ctx, append(request, '\n'))
	if err != nil {
		<-e.slots
		return nil, err
	}
	return &outward{Conn: conn, release: sync.OnceFunc(func() { <-e.slots })}, nil
}

// target is what a program means by host: an address that stands for a name is that name.
func (e *egress) target(host string) (string, error) {
	odd := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
	if host == "" || len(host) > maxHost || !utf8.ValidString(host) || strings.ContainsFunc(host, odd) {
		return "", &deniedError{sentence: fmt.Sprintf("%.300q is no host to connect with.", host)}
	}
	addr, _ := netip.ParseAddr(host) // a name is none, which stands for nothing
	if !standsForName(addr) {
		return host, nil
	}
	name, known := e.names.name(addr)
	if !known {
		return "", &deniedError{sentence: "No name has been looked up of late that " + host + " stands for."}
	}
	return name, nil
}

// take waits for a slot.
func (e *egress) take(ctx context.Context) error {
	select {
	case e.slots <- struct{}{}:
		return nil
	default:
	}
	e.idle()
	select {
	case e.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connect makes a connection out of a stream. It begins anew when the pipe ends before
// the host has answered.
func (e *egress) connect(ctx context.Context, request []byte) (net.Conn, error) {
	for {
		stream, err := e.link.open(ctx, pipe.Egress)
		if err != nil {
			return nil, err
		}
		answer, err := ask(ctx, stream, request)
		switch {
		case err == nil && answer.Error == "":
			return stream, nil
		case err == nil:
			err = &deniedError{sentence: answer.Error, refused: answer.Refused}
		case ctx.Err() != nil:
			err = ctx.Err()
		case pipe.Broken(stream):
			_ = stream.Close()
			continue
		default:
			err = &deniedError{sentence: "lap did not say whether it made the connection."}
		}
		_ = stream.Close()
		return nil, err
	}
}

// ask sends the host a request and reads its answer, and no more than that.
func ask(ctx context.Context, stream net.Conn, request []byte) (answer sandbox.EgressAnswer, err error) {
	stop := context.AfterFunc(ctx, func() { _ = stream.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := stream.Write(request); err != nil {
		return answer, err
	}
	line := make([]byte, 0, 64)
	for next := []byte{0}; next[0] != '\n'; line = append(line, next[0]) {
		if len(line) == sandbox.MaxEgressLine {
			return answer, errors.New("the answer is too long")
		}
		if _, err := io.ReadFull(stream, next); err != nil {
			return answer, err
		}
	}
	if !stop() {
		return answer, ctx.Err()
	}
	return answer, json.Unmarshal(line, &answer)
}

// An outward is a connection to the outside.
type outward struct {
	net.Conn
	release func()
}

// CloseWrite tells the other end that no more comes.
func (o *outward) CloseWrite() error { return o.Conn.Close() }

func (o *outward) Close() error {
	defer o.release()
	return o.Conn.Close()
}
