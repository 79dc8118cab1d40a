// Probe is the client of the bench. It runs inside a sandbox and, for the floor, on the
// host, and prints what it measured as one line of JSON.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// A measure is what was seen. Times are in nanoseconds.
type measure struct {
	P50  int64   `json:"p50,omitempty"`
	P99  int64   `json:"p99,omitempty"`
	Rate float64 `json:"rate,omitempty"` // requests or bytes a second
}

// options are what the command line asks for.
type options struct {
	url    string
	direct bool // do not heed DNS and proxies: the server is at 127.0.0.1
	n      int
	fresh  bool // a new connection for every request
	conns  int
	span   time.Duration
	bytes  int64
	roots  string // file of a certificate to trust
}

func main() {
	var o options
	what := flag.String("do", "", "latency, load, down or up")
	flag.StringVar(&o.url, "url", "", "of the server")
	flag.BoolVar(&o.direct, "direct", false, "connect to 127.0.0.1, whatever the name")
	flag.IntVar(&o.n, "n", 200, "requests, one after the other")
	flag.BoolVar(&o.fresh, "fresh", false, "a new connection for every request")
	flag.IntVar(&o.conns, "conns", 200, "connections at once")
	flag.DurationVar(&o.span, "span", 4*time.Second, "of the load")
	flag.Int64Var(&o.bytes, "bytes", 64<<20, "to download or upload")
	flag.StringVar(&o.roots, "roots", "", "file of a certificate to trust, PEM")
	flag.Parse()
	measures := map[string]func(context.Context, *http.Client, options) (measure, error){
		"latency": latency, "load": load, "down": down, "up": up,
	}
	f, ok := measures[*what]
	if !ok {
		fmt.Fprintln(os.Stderr, "probe: -do is latency, load, down or up")
		os.Exit(2)
	}
	if err := run(o, f); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(o options, f func(context.Context, *http.Client, options) (measure, error)) error {
	c, err := newClient(o)
	if err != nil {
		return err
	}
	m, err := f(context.Background(), c, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

const bufferSize = 64 << 10

// newClient speaks HTTP/1.1, as most command lines and libraries do.
func newClient(o options) (*http.Client, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if o.roots != "" {
		text, err := os.ReadFile(o.roots)
		if err != nil {
			return nil, err
		}
		roots.AppendCertsFromPEM(text)
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: o.fresh, DisableCompression: true,
		MaxIdleConnsPerHost: o.conns, MaxConnsPerHost: o.conns, ReadBufferSize: bufferSize, WriteBufferSize: bufferSize,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	if !o.direct {
		return &http.Client{Transport: t}, nil
	}
	var d net.Dialer
	t.Proxy = nil
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
	return &http.Client{Transport: t}, nil
}
