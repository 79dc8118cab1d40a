package vault

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A protocol is what a connection speaks, as far as its first bytes tell.
type protocol int

const (
	protocolOther protocol = iota
	protocolTLS
	protocolHTTP
)

const (
	maxHello  = 64 << 10 // bytes of the first message of TLS
	tlsRecord = 0x16     // the first byte of TLS: a handshake
)

// A side is one end of a connection that can be read without taking what is read.
type side struct {
	net.Conn
	in *bufio.Reader
}

// firstSpeaker waits for the first bytes, or the end, of either side, and reports whether
// that is the client. What came can still be read. A server that speaks first speaks neither
// TLS nor HTTP, but for the second version of it (see speaksHTTP2).
func firstSpeaker(client, server side) (clientFirst bool, err error) {
	var waiting sync.WaitGroup
	spoke := make(chan bool, 2)
	for _, s := range []side{client, server} {
		waiting.Go(func() {
			_, _ = s.in.Peek(1) // an end is seen again by who reads on
			spoke <- s == client
		})
	}
	clientFirst = <-spoke
	for _, s := range []side{client, server} {
		err = errors.Join(err, s.SetReadDeadline(time.Unix(1, 0))) // the other need not wait any more
	}
	waiting.Wait()
	return clientFirst, errors.Join(err, client.SetReadDeadline(time.Time{}), server.SetReadDeadline(time.Time{}))
}

// requestLine is the end of the first line of an HTTP request.
var requestLine = regexp.MustCompile(`HTTP/[0-9]`)

// sniff tells what a client speaks by its first bytes, which can still be read. It waits for
// no more of them than it needs. wary: all text counts as HTTP, for servers are lenient in what
// they take for a request: one of the first version is a bare line, say.
func sniff(in *bufio.Reader, wary bool) protocol {
	for n := 1; ; {
		_, err := in.Peek(n)
		first, _ := in.Peek(in.Buffered()) // all that has come
		if len(first) > 0 {
			if first[0] == tlsRecord {
				return protocolTLS
			}
			if p, sure := sniffText(first, wary); sure {
				return p
			}
		}
		if in.Buffered() >= in.Size() { // a long address
			return protocolHTTP
		}
		if err != nil {
			return protocolOther
		}
		n = in.Buffered() + 1
	}
}

// sniffText tells whether text begins an HTTP request, when it is long enough to be sure.
// Some servers skip blanks before it, and take a tab for a blank.
func sniffText(text []byte, wary bool) (p protocol, sure bool) {
	if wary {
		if r := text[0]; r >= ' ' && r <= '~' || bytes.ContainsRune([]byte("\r\n\t"), rune(r)) {
			return protocolHTTP, true
		}
		return protocolOther, true
	}
	text = bytes.TrimLeft(text, "\r\n\t ")
	method := text
	blank := bytes.IndexAny(text, " \t")
	if blank >= 0 {
		method = text[:blank]
	}
	if bytes.ContainsFunc(method, notToken) {
		return protocolOther, true
	}
	end := bytes.IndexByte(text, '\n')
	if end < 0 {
		return protocolOther, false
	}
	if requestLine.Match(text[:end]) {
		return protocolHTTP, true
	}
	return protocolOther, true
}

func notToken(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\\"/[]?={}`, r)
}

// speaksHTTP2 reports whether what a server has said first begins HTTP/2, whose servers need
// not wait: a frame of settings, of which the first nine bytes are known but for the length.
func speaksHTTP2(server *bufio.Reader) bool {
	said, _ := server.Peek(server.Buffered()) // what is buffered can be had
	return len(said) >= 9 && bytes.Equal(said[3:9], []byte{4, 0, 0, 0, 0, 0})
}

// errPeeked ends a handshake that was begun to read its first message.
var errPeeked = errors.New("peeked")

// readHello reads the first message of TLS, and returns the name of the server that it is
// for, empty without one, and the bytes it took. The error is that of a message that is none.
func readHello(ctx context.Context, in io.Reader) (name string, taken []byte, err error) {
	var buf bytes.Buffer
	conn := helloConn{io.TeeReader(io.LimitReader(in, maxHello), &buf)}
	err = tls.Server(conn, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		name = info.ServerName
		return nil, errPeeked
	}}).HandshakeContext(ctx)
	if errors.Is(err, errPeeked) {
		err = nil
	}
	return name, buf.Bytes(), err
}

// helloConn is a connection that can only be read.
type helloConn struct{ io.Reader }

func (helloConn) Write(b []byte) (int, error)      { return len(b), nil } // an alert, which nobody shall see
func (helloConn) Close() error                     { return nil }
func (helloConn) LocalAddr() net.Addr              { return nil }
func (helloConn) RemoteAddr() net.Addr             { return nil }
func (helloConn) SetDeadline(time.Time) error      { return nil }
func (helloConn) SetReadDeadline(time.Time) error  { return nil }
func (helloConn) SetWriteDeadline(time.Time) error { return nil }
