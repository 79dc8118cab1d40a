//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// https are attacks in HTTP and TLS on hosts of the test: bound.test has a credential, other.test
// has none, refused.test is refused. All are one machine.
func https([]string) []attack {
	key := os.Getenv("BOUND_KEY")
	list := []attack{
		{"tunnel to one host, TLS to another", func() error { return misled("other.test:443", "refused.test", "refused.test", key) }},
		{"tunnel to the bound host, TLS to another", func() error { return misled("bound.test:443", "refused.test", "refused.test", key) }},
		{"TLS to the bound host, Host of another", func() error { return misled("bound.test:443", "bound.test", "refused.test", key) }},
		{"tunnel to another, TLS to the bound host", func() error { return misled("other.test:443", "bound.test", "bound.test", key) }},
	}
	for name, request := range map[string]string{
		"Host of another":          "GET / HTTP/1.1\r\nHost: refused.test\r\n\r\n",
		"absolute URL":             "GET http://refused.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
		"two Hosts":                "GET / HTTP/1.1\r\nHost: other.test\r\nHost: refused.test\r\n\r\n",
		"folded Host":              "GET / HTTP/1.1\r\nHost: other.test\r\n refused.test\r\n\r\n",
		"two lengths":              "POST / HTTP/1.1\r\nHost: other.test\r\nContent-Length: 0\r\nContent-Length: 50\r\n\r\nGET / HTTP/1.1\r\nHost: refused.test\r\n\r\n",
		"length and chunks":        "POST / HTTP/1.1\r\nHost: other.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: refused.test\r\n\r\n",
		"pipelined":                "GET / HTTP/1.1\r\nHost: other.test\r\n\r\nGET / HTTP/1.1\r\nHost: refused.test\r\n\r\n",
		"long method":              strings.Repeat("G", 40) + " / HTTP/1.1\r\nHost: refused.test\r\n\r\n",
		"upgrade to HTTP/2":        "GET / HTTP/1.1\r\nHost: other.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
		"CONNECT behind the proxy": "CONNECT refused.test:443 HTTP/1.1\r\nHost: other.test\r\n\r\n",
	} {
		list = append(list, attack{name, func() error {
			conn, err := tunnel("other.test:80")
			if err != nil {
				return err
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, request)
			_ = conn.SetReadDeadline(time.Now().Add(wait))
			text, _ := io.ReadAll(conn)
			if strings.Contains(string(text), "host=refused.test") || strings.Contains(string(text), "101 Switching") {
				return errors.New(string(text))
			}
			return nil
		}})
	}
	return list
}

// misled asks for host in TLS to name through a tunnel to target. It must not arrive, or
// not with the credential.
func misled(target, name, host, key string) error {
	conn, err := tunnel(target)
	if err != nil {
		return err
	}
	defer conn.Close()
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: name}) //nolint:gosec // an attacker does not care
	if err := secure.Handshake(); err != nil {
		return nil
	}
	if _, err := fmt.Fprintf(secure, "GET /?got=1 HTTP/1.1\r\nHost: %s\r\nX-Key: %s\r\nConnection: close\r\n\r\n", host, key); err != nil {
		return nil
	}
	res, err := http.ReadResponse(bufio.NewReader(secure), nil)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode == http.StatusOK {
		return fmt.Errorf("%s", text)
	}
	return nil
}

// flood opens a thousand connections at once, in several ways, and must not keep the next
// request from its answer.
func flood(args []string) []attack {
	target := args[0]
	return []attack{
		{"a thousand half-open", func() error { return crowd(func() (net.Conn, error) { return net.Dial("tcp", proxyAddr) }) }},
		{"a thousand slow", func() error {
			return crowd(func() (net.Conn, error) {
				conn, err := net.Dial("tcp", proxyAddr)
				if err == nil {
					_, err = io.WriteString(conn, "CONNECT "+target+" HT")
				}
				return conn, err
			})
		}},
		{"a thousand tunnels", func() error {
			return crowd(func() (net.Conn, error) {
				conn, err := net.Dial("tcp", proxyAddr)
				if err == nil {
					_, err = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", target)
				}
				return conn, err
			})
		}},
		{"afterwards", func() error {
			text, err := forward(target)
			if err != nil || !strings.Contains(text, "host=") {
				return fmt.Errorf("%s %w", text, err)
			}
			return nil
		}},
	}
}

func crowd(open func() (net.Conn, error)) error {
	var all sync.WaitGroup
	var made atomic.Int64
	conns := make(chan net.Conn, 1000)
	for range 1000 {
		all.Go(func() {
			if conn, err := open(); err == nil {
				made.Add(1)
				conns <- conn
			}
		})
	}
	all.Wait()
	time.Sleep(wait)
	close(conns)
	for conn := range conns {
		conn.Close()
	}
	if made.Load() < 900 {
		return fmt.Errorf("only %d were made", made.Load())
	}
	return nil
}
