//go:build linux

package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// loopbackIndex is that of the interface lo, in every network.
const loopbackIndex = 1

// setUpCapture makes every address one of this sandbox's own, and leads all of TCP, and
// the DNS, to this guest. It returns the loopback addresses that it leads to.
func setUpCapture() ([]netip.Addr, error) {
	if !has(unix.CAP_NET_ADMIN) {
		return nil, errors.New("this container was made without the capability NET_ADMIN")
	}
	if err := redirect(); err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer conn.Close()
	if err := errors.Join(loopbackUp(conn), secondAddress(conn)); err != nil {
		return nil, fmt.Errorf("lo: %w", err)
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if err := routeAll(conn, unix.AF_INET, loopback); err != nil {
		return nil, fmt.Errorf("route: %w", err)
	}
	all := []netip.Addr{loopback}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil { //nolint:noctx // it does not wait
		_ = l.Close()
		if err := routeAll(conn, unix.AF_INET6, netip.IPv6Loopback()); err != nil {
			return nil, fmt.Errorf("route for IPv6: %w", err)
		}
		all = append(all, netip.IPv6Loopback())
	}
	return all, nil
}

// loopbackUp does "ip link set lo up".
func loopbackUp(conn *netlink.Conn) error {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], loopbackIndex)
	binary.NativeEndian.PutUint32(b[8:], unix.IFF_UP)  // flags
	binary.NativeEndian.PutUint32(b[12:], unix.IFF_UP) // of which to change
	return change(conn, unix.RTM_NEWLINK, 0, b, nil)
}

// secondAddress does "ip address replace 127.0.0.2/8 dev lo scope host". With 127.0.0.1
// alone, glibc finds no IPv4 addresses for programs that want what they can use
// (AI_ADDRCONFIG).
func secondAddress(conn *netlink.Conn) error {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1], b[3] = unix.AF_INET, 8, unix.RT_SCOPE_HOST
	binary.NativeEndian.PutUint32(b[4:], loopbackIndex)
	return change(conn, unix.RTM_NEWADDR, netlink.Create|netlink.Replace, b, func(a *netlink.AttributeEncoder) {
		a.Bytes(unix.IFA_LOCAL, []byte{127, 0, 0, 2})
	})
}

// routeAll does "ip route replace local default dev lo src loopback".
func routeAll(conn *netlink.Conn, family byte, loopback netip.Addr) error {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[4], b[5], b[6], b[7] = family, unix.RT_TABLE_LOCAL, unix.RTPROT_BOOT, unix.RT_SCOPE_HOST, unix.RTN_LOCAL
	return change(conn, unix.RTM_NEWROUTE, netlink.Create|netlink.Replace, b, func(a *netlink.AttributeEncoder) {
		a.Uint32(unix.RTA_OIF, loopbackIndex)
		a.Bytes(unix.RTA_PREFSRC, loopback.AsSlice())
	})
}

// change asks the kernel for a change, told by a fixed part and attributes.
func change(conn *netlink.Conn, kind netlink.HeaderType, flags netlink.HeaderFlags, fixed []byte, attributes func(*netlink.AttributeEncoder)) error {
	a := netlink.NewAttributeEncoder()
	if attributes != nil {
		attributes(a)
	}
	tail, err := a.Encode()
	if err != nil {
		return err
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: flags | netlink.Request | netlink.Acknowledge},
		Data:   append(fixed, tail...),
	})
	return err
}

// redirect makes these rules. It does not delete any first, which takes the kernel 5 to 10
// ms: every run of a container has a network of its own.
//
//	table inet lap {
//		chain nat {
//			type nat hook output priority dstnat
//			udp dport 53 redirect to :stubPort
//			tcp dport 53 redirect to :stubPort
//			ip daddr 127.0.0.0/8 return
//			ip6 daddr ::1 return
//			meta l4proto tcp redirect to :capturePort
//		}
//		chain ping {
//			type filter hook output priority filter
//			meta nfproto ipv4 meta l4proto icmp ip daddr != 127.0.0.0/8 drop
//			meta nfproto ipv6 meta l4proto icmpv6 ip6 daddr != ::1 drop
//		}
//	}
//
// All addresses being this sandbox's own, it would answer pings to them.
func redirect() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: "lap", Family: nftables.TableFamilyINet}
	conn.AddTable(table)
	nat := conn.AddChain(&nftables.Chain{
		Name: "nat", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	ping := conn.AddChain(&nftables.Chain{
		Name: "ping", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
	})
	add := func(chain *nftables.Chain, parts ...[]expr.Any) {
		rule := &nftables.Rule{Table: table, Chain: chain}
		for _, part := range parts {
			rule.Exprs = append(rule.Exprs, part...)
		}
		conn.AddRule(rule)
	}
	back, drop := verdict(expr.VerdictReturn), verdict(expr.VerdictDrop)
	add(nat, protocol(unix.IPPROTO_UDP), port(53), redirectTo(stubPort))
	add(nat, protocol(unix.IPPROTO_TCP), port(53), redirectTo(stubPort))
	add(nat, loopback4(expr.CmpOpEq), back)
	add(nat, loopback6(expr.CmpOpEq), back)
	add(nat, protocol(unix.IPPROTO_TCP), redirectTo(capturePort))
	add(ping, loopback4(expr.CmpOpNeq), protocol(unix.IPPROTO_ICMP), drop)
	add(ping, loopback6(expr.CmpOpNeq), protocol(unix.IPPROTO_ICMPV6), drop)
	return conn.Flush()
}

// family matches packets of IPv4 or IPv6.
func family(f byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f}},
	}
}

// loopback4 matches packets of IPv4 to 127.0.0.0/8, or to anywhere else.
func loopback4(op expr.CmpOp) []expr.Any {
	return append(family(unix.NFPROTO_IPV4),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 1},
		&expr.Cmp{Op: op, Register: 1, Data: []byte{127}})
}

// loopback6 matches packets of IPv6 to ::1, or to anywhere else.
func loopback6(op expr.CmpOp) []expr.Any {
	return append(family(unix.NFPROTO_IPV6),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: 16},
		&expr.Cmp{Op: op, Register: 1, Data: netip.IPv6Loopback().AsSlice()})
}

func protocol(p byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{p}},
	}
}

// port matches packets of TCP or UDP to a port.
func port(p uint16) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, p)},
	}
}

func redirectTo(p uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, p)},
		&expr.Redir{RegisterProtoMin: 1},
	}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }
