//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"lap/sandbox/pipe"
)

// guestSocket is where the guest takes further pipes.
const guestSocket = "@lap/pipe"

// pipes are attacks on the way to the host. The arguments are values in hexadecimal.
func pipes(args []string) []attack {
	return []attack{
		{"garbage to the guest", garbage},
		{"a pipe of one's own", func() error { return ownPipe(args) }},
		{"services of the guest", services},
		{"to boot the guest again", bootAgain},
		{"a service of no name", func() error { return toHost(frame(1, 0x7fffffe0, 7, "docker\n")) }},
		{"a request of one's own", func() error { // which is judged like any other
			return toHost(frame(1, 0x7ffffff0, 7, "egress\n"), frame(0, 0x7ffffff0, 60, fmt.Sprintf("%-59s\n", `{"host":"127.0.0.1","port":22,"via":"socks"}`)))
		}},
		{"garbage to the host", func() error { return toHost([]byte("GET / HTTP/1.1\r\n\r\n\x00\xff garbage")) }},
	}
}

// garbage leaves the guest to others.
func garbage() error {
	for range 20 {
		conn, err := net.Dial("unix", guestSocket)
		if err != nil {
			return nil
		}
		_, _ = conn.Write(bytes.Repeat([]byte{0xff, 0, 7}, 1000))
		conn.Close()
	}
	return alive()
}

// ownPipe opens a pipe as the host does. The guest tells what it was booted with, which
// must be worth nothing.
func ownPipe(args []string) error {
	return asHost(func(client *http.Client, _ *pipe.Host) error {
		res, err := client.Get("http://guest/boot")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || !bytes.Contains(text, []byte("session")) {
			return fmt.Errorf("the boot cannot be read: %s %w", text, err)
		}
		for _, a := range args {
			v, err := hex.DecodeString(a)
			if err != nil || bytes.Contains(text, v) {
				return errors.New("the boot holds a real value")
			}
		}
		return nil
	})
}

// services takes what the guest would ask the host for: with the pipe opened last, that is
// this one. No stream that the guest opens has anything of the host.
func services() error {
	return asHost(func(_ *http.Client, host *pipe.Host) error {
		l := pipe.NewListener()
		defer l.Close()
		go host.Serve("intruder", map[pipe.Service]*pipe.Listener{pipe.Egress: l, pipe.Gateway: l, pipe.Platform: l})
		go func() { _, _ = connect("bound.test:443") }()
		got := make(chan string, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			line, _ := bufio.NewReader(conn).ReadString('\n')
			got <- line
		}()
		select {
		case line := <-got:
			if line != `{"host":"bound.test","port":443,"via":"proxy"}`+"\n" {
				return fmt.Errorf("it got %q", line)
			}
		case <-time.After(5 * time.Second): // it was not the last one
		}
		return nil
	})
}

func bootAgain() error {
	return asHost(func(client *http.Client, _ *pipe.Host) error {
		res, err := client.Post("http://guest/boot", "application/json", bytes.NewBufferString(`{"session":"another","harness":"lap"}`))
		if err != nil {
			return nil
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		if !bytes.Contains(text, []byte("booted for something else")) {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
}

func asHost(do func(*http.Client, *pipe.Host) error) error {
	conn, err := net.Dial("unix", guestSocket)
	if err != nil {
		return nil
	}
	host, err := pipe.NewHost(conn)
	if err != nil {
		return err
	}
	defer host.Close()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return host.Dial(ctx) },
	}}
	return do(client, host)
}

// toHost writes on the pipes that lead to the host, in the place of the guest and of what
// carries its further pipes. What comes of it is for the test to see.
func toHost(frames ...[]byte) error {
	written, err := writeToHost(bytes.Join(frames, nil))
	time.Sleep(wait) // for lap to take it in
	if !written && err == nil {
		err = errors.New("nothing could be written, so this tries nothing")
	}
	return err
}

// writeToHost reports whether something was written, or there is nothing that could be:
// the way of native sandboxes is a socket, which nobody can open a second time.
func writeToHost(b []byte) (written bool, err error) {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if comm, err := os.ReadFile(name); err != nil || string(comm) != "lap\n" {
			continue
		}
		out, err := openOutput(filepath.Dir(name))
		if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EACCES) {
			written = true
		}
		if err != nil {
			continue
		}
		_, err = out.Write(b)
		written = written || err == nil
		out.Close()
	}
	return written, nil
}

// openOutput opens the standard output of a process, by its name or by taking it over.
func openOutput(proc string) (*os.File, error) {
	out, err := os.OpenFile(filepath.Join(proc, "fd", "1"), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		return out, nil
	}
	pid, taken := strconv.Atoi(filepath.Base(proc))
	if taken != nil {
		return nil, taken
	}
	process, taken := unix.PidfdOpen(pid, 0)
	if taken != nil {
		return nil, err
	}
	defer unix.Close(process)
	fd, taken := unix.PidfdGetfd(process, 1, 0)
	if taken != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "output"), nil
}

// frame is a frame of the multiplexer with data.
func frame(flags byte, stream, length uint32, payload string) []byte {
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{0, 0, 0, flags}, stream), length)
	return append(b, payload...)
}
