package vault_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// get asks for / over conn.
func get(tb testing.TB, conn net.Conn, host string) (int, string) {
	tb.Helper()
	return exchange(tb, conn, fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host))
}

// getTLS is get over TLS, whose certificate must be that of host.
func getTLS(tb testing.TB, w *world, conn net.Conn, host string) (int, string) {
	tb.Helper()
	return get(tb, secure(tb, w, conn, host), host)
}

func secure(tb testing.TB, w *world, conn net.Conn, host string) *tls.Conn {
	tb.Helper()
	c := tls.Client(conn, &tls.Config{RootCAs: w.roots(), ServerName: host})
	if err := c.Handshake(); err != nil {
		tb.Fatalf("handshake: %v", err)
	}
	return c
}

// exchange sends bytes and reads one response; status 0: there was none.
func exchange(tb testing.TB, conn net.Conn, request string) (int, string) {
	tb.Helper()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	defer func() { _ = conn.SetDeadline(time.Time{}) }()
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, err.Error()
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(text)
}
