package vault

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"

	"lap/sandbox/vault/rule"
)

// proxyTimeout is for a proxy to connect.
const proxyTimeout = 30 * time.Second

// EnvironmentProxy is a Network.Proxy by the variables HTTPS_PROXY and NO_PROXY of lap's
// own environment, whatever the protocol: what a sandbox sends is not known when it asks.
func EnvironmentProxy() func(hostport string) (*url.URL, error) {
	choose := httpproxy.FromEnvironment().ProxyFunc()
	return func(hostport string) (*url.URL, error) {
		return choose(&url.URL{Scheme: "https", Host: hostport})
	}
}

func (n *Network) proxy(t rule.Target) (*url.URL, error) {
	if n.Proxy == nil {
		return nil, nil
	}
	p, err := n.Proxy(hostport(t))
	if err != nil {
		return nil, errors.New("the HTTPS_PROXY of lap serve is no URL of a proxy") // which may hold a password
	}
	return p, nil
}

func hostport(t rule.Target) string { return net.JoinHostPort(t.String(), strconv.Itoa(int(t.Port))) }

// throughProxy connects to t by a proxy of kind http, https, or socks5.
func (n *Network) throughProxy(ctx context.Context, via *url.URL, t rule.Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, proxyTimeout)
	defer cancel()
	conn, err := n.dialProxy(ctx, via, hostport(t))
	if err != nil {
		return nil, fmt.Errorf("the proxy %s of lap's machine gives no connection to %s: %w", via.Host, hostport(t), err)
	}
	return conn, nil
}

func (n *Network) dialProxy(ctx context.Context, via *url.URL, to string) (net.Conn, error) {
	var dialer net.Dialer
	switch via.Scheme {
	case "http", "https":
	default:
		d, err := proxy.FromURL(via, &dialer)
		if err != nil {
			return nil, err
		}
		return d.(proxy.ContextDialer).DialContext(ctx, "tcp", to)
	}
	port := via.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[via.Scheme]
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(via.Hostname(), port))
	if err != nil {
		return nil, err
	}
	if via.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{RootCAs: n.Roots, ServerName: via.Hostname(), MinVersion: tls.VersionTLS12})
	}
	tunnel, err := connect(ctx, conn, via.User, to)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return tunnel, nil
}

// connect asks an HTTP proxy for a tunnel.
func connect(ctx context.Context, conn net.Conn, user *url.Userinfo, to string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: to}, Host: to, Header: http.Header{}}
	if user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(io.LimitReader(conn, maxHeader))
	res, err := http.ReadResponse(in, req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close() // the connection is given up
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	if !stop() {
		return nil, ctx.Err()
	}
	rest, _ := in.Peek(in.Buffered()) // what is buffered can be had
	return newPrefixed(conn, rest), nil
}
