//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const proxyAddr = "127.0.0.1:3128"

// addresses are attempts to connect with each argument, host:port, in every way there is.
func addresses(args []string) []attack {
	errs := make([]error, len(args))
	var all sync.WaitGroup
	for i, target := range args {
		all.Go(func() { errs[i] = everyWay(target) })
	}
	all.Wait()
	var list []attack
	for i, target := range args {
		list = append(list, attack{target, func() error { return errs[i] }})
	}
	return list
}

func everyWay(target string) error {
	for name, way := range map[string]func(string) (string, error){"CONNECT": connect, "proxy": forward, "SOCKS": socks, "capture": direct} {
		if text, err := way(target); err == nil {
			return fmt.Errorf("%s: %s", name, text)
		}
	}
	return nil
}

// connect asks the proxy for a tunnel and then for a page through it.
func connect(target string) (string, error) {
	conn, err := tunnel(target)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return page(conn, target)
}

func tunnel(target string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", proxyAddr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
		return nil, err
	}
	var answer []byte
	for one := []byte{0}; !strings.HasSuffix(string(answer), "\r\n\r\n"); answer = append(answer, one[0]) {
		if _, err := io.ReadFull(conn, one); err != nil {
			return nil, err
		}
	}
	if !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		conn.Close()
		return nil, fmt.Errorf("%.60s", answer)
	}
	return conn, nil
}

// forward asks the proxy for a page.
func forward(target string) (string, error) {
	conn, err := net.DialTimeout("tcp", proxyAddr, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return get(conn, "GET http://"+target+"/ HTTP/1.1\r\nHost: "+target+"\r\nConnection: close\r\n\r\n")
}

func socks(target string) (string, error) {
	host, text, err := net.SplitHostPort(target)
	if err != nil {
		return "", err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", err
	}
	conn, err := net.DialTimeout("tcp", proxyAddr, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	ask := append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))}, host...)
	if _, err := conn.Write(binary.BigEndian.AppendUint16(ask, uint16(port))); err != nil {
		return "", err
	}
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil || answer[3] != 0 {
		return "", fmt.Errorf("answer %v, %w", answer, err)
	}
	return page(conn, target)
}

// direct connects as a program that knows no proxy. An address of this sandbox's own
// loopback leads nowhere but to itself.
func direct(target string) (string, error) {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return "", err
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsLoopback() {
		return "", io.EOF
	}
	conn, err := net.DialTimeout("tcp", target, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return page(conn, target)
}

func page(conn net.Conn, target string) (string, error) {
	return get(conn, "GET / HTTP/1.1\r\nHost: "+target+"\r\nConnection: close\r\n\r\n")
}

// get returns a page; what says that the vault blocked it is an error.
func get(conn net.Conn, request string) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusBadGateway || res.StatusCode == http.StatusBadRequest ||
		res.StatusCode == http.StatusMisdirectedRequest) {
		err = fmt.Errorf("%s", res.Status)
	}
	return fmt.Sprint(res.Status, " ", string(text)), err
}

// hold keeps a connection open until the other end ends it, and says when.
func hold(target string) {
	conn, err := tunnel(target)
	if err != nil {
		fmt.Println("none:", err)
		return
	}
	fmt.Println("open")
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, err = io.Copy(io.Discard, conn)
	if os.IsTimeout(err) {
		fmt.Println("still open")
		return
	}
	fmt.Println("ended")
}
