//go:build linux

package guest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"lap/sandbox"
)

// Where captured traffic goes, also on ::1.
const (
	capturePort = 3129 // TCP
	stubPort    = 3130 // DNS
)

// startCapture listens for what setUpCapture leads here, until ctx ends, and makes the
// sandbox look names up here.
func (g *Guest) startCapture(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	s := &stub{names: g.egress.names, self: strings.ToLower(host), ipv6: len(g.loopbacks) > 1}
	for _, loopback := range g.loopbacks {
		if err := s.open(ctx, g, netip.AddrPortFrom(loopback, stubPort).String()); err != nil {
			return err
		}
		addr := netip.AddrPortFrom(loopback, capturePort).String()
		if err := g.listen(ctx, addr, maxOutward, func(conn *net.TCPConn) { g.capture(ctx, conn) }); err != nil {
			return err
		}
	}
	if err := writeFile("/etc/resolv.conf", strings.NewReader("nameserver 127.0.0.1\n"), 0o644); err != nil {
		g.log.Warn("names of hosts may not be found", "err", err)
	}
	return nil
}

// capture joins a connection that a program has made with where it meant to.
func (g *Guest) capture(ctx context.Context, conn *net.TCPConn) {
	defer conn.Close()
	to, err := originalOf(conn)
	if err != nil || to.Addr().IsLoopback() { // it was made with this listener
		reset(conn)
		return
	}
	patience, done := patient(ctx, conn)
	remote, err := g.egress.dial(patience, to.Addr().String(), int(to.Port()), sandbox.ViaCapture)
	done()
	if err != nil {
		reset(conn)
		return
	}
	defer remote.Close()
	join(ctx, conn, remote)
}

// originalOf is where a connection was made to before it was led here.
func originalOf(conn *net.TCPConn) (to netip.AddrPort, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return to, err
	}
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return to, fmt.Errorf("address %v", conn.LocalAddr())
	}
	failed := raw.Control(func(fd uintptr) {
		if local.IP.To4() == nil {
			to, err = original6(int(fd))
		} else {
			to, err = original4(int(fd))
		}
	})
	return to, errors.Join(failed, err)
}

// original4 reads a sockaddr_in, as the beginning of something as large.
func original4(fd int) (netip.AddrPort, error) {
	addr, err := unix.GetsockoptIPv6Mreq(fd, unix.IPPROTO_IP, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := addr.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:])), nil
}

// original6 reads a sockaddr_in6, as the beginning of something larger.
func original6(fd int) (netip.AddrPort, error) {
	const ip6tOriginalDst = 80
	addr, err := unix.GetsockoptIPv6MTUInfo(fd, unix.IPPROTO_IPV6, ip6tOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, addr.Addr.Port))
	return netip.AddrPortFrom(netip.AddrFrom16(addr.Addr.Addr), port), nil
}
