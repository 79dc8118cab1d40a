//go:build linux

package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// SOCKS5, RFC 1928 and 1929.
const (
	socksVersion = 5

	socksNoAuth   = 0
	socksPassword = 2
	socksNoMethod = 0xff

	socksConnect = 1

	socksIPv4   = 1
	socksDomain = 3
	socksIPv6   = 4

	socksDone            = 0
	socksFailed          = 1
	socksNotAllowed      = 2
	socksUnreachable     = 4
	socksUnknownCommand  = 7
	socksUnknownAddrType = 8
)

var errSOCKS = errors.New("not what SOCKS5 says")

// socksRequest speaks SOCKS5 with a client from its first byte up to its request. It
// reads no further. A request that it cannot grant it has answered.
func socksRequest(client io.ReadWriter) (host string, port int, err error) {
	if err := socksGreet(client); err != nil {
		return "", 0, err
	}
	var head [4]byte // version, command, reserved, type of address
	if _, err := io.ReadFull(client, head[:]); err != nil {
		return "", 0, err
	}
	if head[0] != socksVersion {
		return "", 0, errSOCKS
	}
	host, port, err = socksAddr(client, head[3])
	switch {
	case errors.Is(err, errSOCKS):
		return "", 0, errors.Join(err, socksReply(client, socksUnknownAddrType))
	case err != nil:
		return "", 0, err
	case head[1] != socksConnect:
		return "", 0, errors.Join(fmt.Errorf("%w: command %d", errSOCKS, head[1]), socksReply(client, socksUnknownCommand))
	}
	return host, port, nil
}

// socksGreet agrees on how the client says who it is. It can say what it likes.
func socksGreet(client io.ReadWriter) error {
	var head [2]byte // version, number of methods
	if _, err := io.ReadFull(client, head[:]); err != nil {
		return err
	}
	if head[0] != socksVersion {
		return errSOCKS
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(client, methods); err != nil {
		return err
	}
	switch {
	case bytes.IndexByte(methods, socksNoAuth) >= 0:
		return write(client, socksVersion, socksNoAuth)
	case bytes.IndexByte(methods, socksPassword) < 0:
		return errors.Join(errSOCKS, write(client, socksVersion, socksNoMethod))
	}
	if err := write(client, socksVersion, socksPassword); err != nil {
		return err
	}
	version := [1]byte{}
	if _, err := io.ReadFull(client, version[:]); err != nil {
		return err
	}
	if version[0] != 1 {
		return errSOCKS
	}
	for range 2 { // user, password
		if _, err := socksText(client); err != nil {
			return err
		}
	}
	return write(client, 1, 0)
}

// socksAddr reads an address of the given type, and the port behind it.
func socksAddr(client io.Reader, kind byte) (host string, port int, err error) {
	switch kind {
	case socksIPv4, socksIPv6:
		b := make([]byte, 4*int(kind))
		if _, err := io.ReadFull(client, b); err != nil {
			return "", 0, err
		}
		addr, _ := netip.AddrFromSlice(b) // has one of the two lengths
		host = addr.String()
	case socksDomain:
		if host, err = socksText(client); err != nil {
			return "", 0, err
		}
	default:
		return "", 0, fmt.Errorf("%w: address of type %d", errSOCKS, kind)
	}
	var b [2]byte
	if _, err := io.ReadFull(client, b[:]); err != nil {
		return "", 0, err
	}
	return host, int(binary.BigEndian.Uint16(b[:])), nil
}

// socksText reads a text with its length in front.
func socksText(client io.Reader) (string, error) {
	var n [1]byte
	if _, err := io.ReadFull(client, n[:]); err != nil {
		return "", err
	}
	text := make([]byte, n[0])
	_, err := io.ReadFull(client, text)
	return string(text), err
}

// socksReply answers a request. The address that it was granted from is not told.
func socksReply(client io.Writer, code byte) error {
	return write(client, socksVersion, code, 0, socksIPv4, 0, 0, 0, 0, 0, 0)
}

// socksCode is the reply that says what err says.
func socksCode(err error) byte {
	denied, ok := errors.AsType[*deniedError](err)
	switch {
	case err == nil:
		return socksDone
	case !ok:
		return socksFailed
	case denied.refused:
		return socksNotAllowed
	default:
		return socksUnreachable
	}
}

func write(w io.Writer, b ...byte) error {
	_, err := w.Write(b)
	return err
}
