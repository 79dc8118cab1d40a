//go:build linux

package guest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// standInTTL is for how many seconds a program may use an address that stands for a
	// name. names keeps it for as long as there are addresses.
	standInTTL = 30
	// maxQuery bounds a query: 512 bytes and what EDNS may add.
	maxQuery = 4 << 10
	// maxQueriers bounds the connections with queries at once, querierTimeout the time
	// between two.
	maxQueriers    = 16
	querierTimeout = 10 * time.Second
)

// A stub answers the sandbox's DNS queries. It asks nobody: an address stands for each
// name, and what a program connects with it for is decided, and looked up, by the host.
type stub struct {
	names *names
	self  string // the sandbox's own name, in lower case
	ipv6  bool   // which the sandbox has
}

// open opens s at a loopback address until ctx ends.
func (s *stub) open(ctx context.Context, g *Guest, addr string) error {
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return err
	}
	g.work.Go(func() {
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		defer stop()
		s.serveUDP(ctx, conn.(*net.UDPConn))
	})
	return g.listen(ctx, addr, maxQueriers, func(conn *net.TCPConn) { s.serveTCP(ctx, conn) })
}

func (s *stub) serveUDP(ctx context.Context, conn *net.UDPConn) {
	query := make([]byte, maxQuery)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(query)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		if answer := s.answer(query[:n]); answer != nil {
			_, _ = conn.WriteToUDPAddrPort(answer, from) // it asks again
		}
	}
}

func (s *stub) serveTCP(ctx context.Context, conn *net.TCPConn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	for {
		_ = conn.SetDeadline(time.Now().Add(querierTimeout)) // of a connection that is open
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		query := make([]byte, min(binary.BigEndian.Uint16(size[:]), maxQuery))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		answer := s.answer(query)
		if answer == nil || int(binary.BigEndian.Uint16(size[:])) > len(query) {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// answer returns the answer to a query, nil for what is none.
func (s *stub) answer(query []byte) []byte {
	var p dnsmessage.Parser
	asked, err := p.Start(query)
	if err != nil || asked.Response {
		return nil
	}
	q, err := p.Question()
	if err == nil {
		if _, more := p.Question(); !errors.Is(more, dnsmessage.ErrSectionDone) {
			err = errors.New("more than one question")
		}
	}
	h := dnsmessage.Header{
		ID: asked.ID, Response: true, OpCode: asked.OpCode,
		RecursionDesired: asked.RecursionDesired, RecursionAvailable: true,
	}
	var r dnsmessage.ResourceBody
	switch {
	case asked.OpCode != 0:
		h.RCode = dnsmessage.RCodeNotImplemented
	case err != nil:
		h.RCode = dnsmessage.RCodeFormatError
		return packed(h, nil, nil)
	default:
		r, h.RCode = s.look(q)
	}
	return packed(h, &q, r)
}

// look looks a question up. Without a resource there is none of the type.
func (s *stub) look(q dnsmessage.Question) (dnsmessage.ResourceBody, dnsmessage.RCode) {
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	if name == "" || q.Class != dnsmessage.ClassINET {
		return nil, dnsmessage.RCodeSuccess
	}
	if !isHostName(name) {
		return nil, dnsmessage.RCodeNameError
	}
	local := name == "localhost" || strings.HasSuffix(name, ".localhost") || name == s.self
	reverse, isReverse := strings.CutSuffix(name, ".in-addr.arpa")
	switch {
	case local && q.Type == dnsmessage.TypeA:
		return &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}, dnsmessage.RCodeSuccess
	case local && s.ipv6 && q.Type == dnsmessage.TypeAAAA:
		return &dnsmessage.AAAAResource{AAAA: netip.IPv6Loopback().As16()}, dnsmessage.RCodeSuccess
	case isReverse && q.Type == dnsmessage.TypePTR:
		return s.reverse(reverse)
	case !local && !strings.HasSuffix(name, ".arpa") && q.Type == dnsmessage.TypeA:
		return &dnsmessage.AResource{A: s.names.addr(name).As4()}, dnsmessage.RCodeSuccess
	}
	return nil, dnsmessage.RCodeSuccess
}

// reverse looks up the name that an address, its bytes in reverse, stands for.
func (s *stub) reverse(text string) (dnsmessage.ResourceBody, dnsmessage.RCode) {
	parts := strings.Split(text, ".")
	if len(parts) != 4 {
		return nil, dnsmessage.RCodeNameError
	}
	addr, err := netip.ParseAddr(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
	if err != nil {
		return nil, dnsmessage.RCodeNameError
	}
	name, known := "localhost", addr.IsLoopback()
	if standsForName(addr) {
		name, known = s.names.name(addr)
	}
	ptr, err := dnsmessage.NewName(name + ".")
	if err != nil || !known {
		return nil, dnsmessage.RCodeNameError
	}
	return &dnsmessage.PTRResource{PTR: ptr}, dnsmessage.RCodeSuccess
}

// isHostName reports whether a name in lower case can be that of a host: no address, and
// of letters, digits, hyphens and, as some are, underscores.
func isHostName(name string) bool {
	if len(name) > 253 {
		return false
	}
	last := ""
	for last = range strings.SplitSeq(name, ".") {
		if last == "" || len(last) > 63 || strings.Trim(last, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return strings.Trim(last, "0123456789") != ""
}

// packed returns an answer as it is sent, nil when it cannot be.
func packed(h dnsmessage.Header, q *dnsmessage.Question, r dnsmessage.ResourceBody) []byte {
	m := dnsmessage.Message{Header: h}
	if q != nil {
		m.Questions = []dnsmessage.Question{*q}
	}
	if r != nil {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: standInTTL}, Body: r,
		}}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}
