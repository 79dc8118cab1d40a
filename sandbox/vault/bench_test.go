package vault_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"lap/sandbox"
	"lap/sandbox/pipe"
	"lap/sandbox/vault"
)

// overPipe returns a client that speaks HTTP/1.1 to the vault over the pipe of a sandbox.
func (w *world) overPipe(fresh bool) *http.Client {
	w.tb.Helper()
	near, far := net.Pipe()
	guest, err := pipe.NewGuest(near)
	if err != nil {
		w.tb.Fatal(err)
	}
	host, err := pipe.NewHost(far)
	if err != nil {
		w.tb.Fatal(err)
	}
	streams := pipe.NewListener()
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { host.Serve("s1", map[pipe.Service]*pipe.Listener{pipe.Egress: streams}) })
	work.Go(func() {
		for {
			stream, err := streams.Accept()
			if err != nil {
				return
			}
			work.Go(func() { w.vault.Serve(ctx, stream, "s1") })
		}
	})
	t := &http.Transport{
		DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
			host, text, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			port, err := strconv.Atoi(text)
			if err != nil {
				return nil, err
			}
			stream, err := guest.Open(pipe.Egress)
			if err != nil {
				return nil, err
			}
			conn, a, err := ask(stream, host, port, sandbox.ViaProxy)
			if err == nil && a.Error != "" {
				err = errors.New(a.Error)
			}
			return conn, err
		},
		TLSClientConfig: &tls.Config{RootCAs: w.roots()}, DisableKeepAlives: fresh,
	}
	w.tb.Cleanup(func() {
		t.CloseIdleConnections()
		cancel()
		_ = guest.Close()
		_ = streams.Close()
		work.Wait()
	})
	return &http.Client{Transport: t}
}

// A client's connection outlives its requests, also after the server's reads were
// interrupted between them.
func TestOpenedConnectionIsKept(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		w := newWorld(t)
		c := w.overPipe(false)
		for range 5 {
			w.do(c, "GET", scheme+"://api.github.com/", "").want(t, 200)
		}
		if len(w.dialled) != 1 {
			t.Errorf("%s: dialled %v", scheme, w.dialled)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, host := range []string{"other.example", "api.github.com"} {
		for _, fresh := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/fresh=%t", host, fresh), func(b *testing.B) {
				c := benchWorld(b).overPipe(fresh)
				for b.Loop() {
					res, err := c.Get("https://" + host + "/")
					if err != nil {
						b.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
			})
		}
	}
}

// benchWorld is a world whose host keeps nothing, and what is seen of it neither.
func benchWorld(b *testing.B) *world {
	b.Helper()
	w := newWorld(b)
	w.host.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if n, err := strconv.Atoi(r.FormValue("bytes")); err == nil {
			rw.Header().Set("Content-Type", "application/octet-stream")
			rw.Header().Set("Content-Length", strconv.Itoa(n))
			piece := make([]byte, 64<<10)
			for ; n > 0; n -= len(piece) {
				_, _ = rw.Write(piece[:min(n, len(piece))])
			}
			return
		}
		_, _ = io.WriteString(rw, "ok")
	})
	w.vault = vault.New(vault.Config{
		CA: w.authority, Network: &vault.Network{Lookup: w.lookup, Dial: w.dialAddr}, Roots: w.roots(), Policy: w.rules,
		Connected: func(vault.Connection) {}, Requested: func(vault.Request) {}, Log: slog.New(slog.DiscardHandler),
	})
	w.run()
	return w
}

func BenchmarkTransfer(b *testing.B) {
	const size = 16 << 20
	for _, host := range []string{"other.example", "api.github.com"} {
		b.Run(host+"/down", func(b *testing.B) {
			c := benchWorld(b).overPipe(false)
			b.SetBytes(size)
			for b.Loop() {
				res, err := c.Get("https://" + host + "/?bytes=" + strconv.Itoa(size))
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, res.Body); n != size {
					b.Fatal(n, err)
				}
				_ = res.Body.Close()
			}
		})
		b.Run(host+"/up", func(b *testing.B) {
			c := benchWorld(b).overPipe(false)
			b.SetBytes(size)
			for b.Loop() {
				res, err := c.Post("https://"+host+"/", "application/octet-stream", bytes.NewReader(make([]byte, size)))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
}
