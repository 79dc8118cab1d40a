//go:build linux

package guest

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func newStub() *stub { return &stub{names: newNames(maxNames), self: "lap", ipv6: true} }

// query is a packed query.
func query(tb testing.TB, name string, kind dnsmessage.Type, class dnsmessage.Class) []byte {
	tb.Helper()
	n, err := dnsmessage.NewName(name)
	if err != nil {
		tb.Fatal(err)
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: kind, Class: class}},
	}
	opt := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeOPT, Class: 1232}
	m.Additionals = []dnsmessage.Resource{{Header: opt, Body: &dnsmessage.OPTResource{}}} // EDNS
	b, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// told is an answer in short.
func told(tb testing.TB, b []byte) string {
	tb.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		tb.Fatalf("%v: %x", err, b)
	}
	if m.ID != 7 || !m.Response || !m.RecursionAvailable || !m.RecursionDesired {
		tb.Errorf("header %+v", m.Header)
	}
	text := strings.TrimPrefix(m.RCode.String(), "RCode")
	for _, r := range m.Answers {
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			text += " " + net.IP(b.A[:]).String()
		case *dnsmessage.AAAAResource:
			text += " " + net.IP(b.AAAA[:]).String()
		case *dnsmessage.PTRResource:
			text += " " + b.PTR.String()
		}
		if r.Header.TTL == 0 || r.Header.Name != m.Questions[0].Name {
			tb.Errorf("answer %+v", r.Header)
		}
	}
	return text
}

func TestStubAnswers(t *testing.T) {
	const a, aaaa, ptr = dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR
	s := newStub() // for all, in this order
	for _, tt := range []struct {
		name string
		kind dnsmessage.Type
		want string
	}{
		{"example.com.", a, "Success 198.18.0.1"},
		{"other.test.", a, "Success 198.18.0.2"},
		{"EXAMPLE.com.", a, "Success 198.18.0.1"},
		{"single.", a, "Success 198.18.0.3"},
		{"_under_score.test.", a, "Success 198.18.0.4"},
		{"example.com.", aaaa, "Success"},
		{"example.com.", dnsmessage.TypeMX, "Success"},
		{"example.com.", dnsmessage.TypeSRV, "Success"},
		{"example.com.", dnsmessage.TypeHTTPS, "Success"},
		{"example.com.", dnsmessage.TypeALL, "Success"},
		{"1.0.18.198.in-addr.arpa.", ptr, "Success example.com."},
		{"9.9.18.198.in-addr.arpa.", ptr, "NameError"},
		{"8.8.8.8.in-addr.arpa.", ptr, "NameError"},
		{"1.0.0.127.in-addr.arpa.", ptr, "Success localhost."},
		{"x.in-addr.arpa.", ptr, "NameError"},
		{"1.0.18.198.in-addr.arpa.", a, "Success"},
		{"1.0.0.ip6.arpa.", ptr, "Success"},
		{"localhost.", a, "Success 127.0.0.1"},
		{"Localhost.", aaaa, "Success ::1"},
		{"web.localhost.", a, "Success 127.0.0.1"},
		{"localhost.", dnsmessage.TypeTXT, "Success"},
		{"lap.", a, "Success 127.0.0.1"},
		{".", dnsmessage.TypeNS, "Success"},
		{"a b.test.", a, "NameError"},
		{"a\x00b.test.", a, "NameError"},
		{"b\xfccher.test.", a, "NameError"},
		{"10.0.0.1.", a, "NameError"},
		{strings.Repeat("a.", 126) + "b.", a, "Success 198.18.0.5"},
		{strings.Repeat("a.", 127), a, "Success 198.18.0.6"},
	} {
		if got := told(t, s.answer(query(t, tt.name, tt.kind, dnsmessage.ClassINET))); got != tt.want {
			t.Errorf("%q %v: %s, want %s", tt.name, tt.kind, got, tt.want)
		}
	}
	if got := told(t, s.answer(query(t, "version.bind.", dnsmessage.TypeTXT, dnsmessage.ClassCHAOS))); got != "Success" {
		t.Errorf("another class: %s", got)
	}
	s.ipv6 = false
	if got := told(t, s.answer(query(t, "localhost.", aaaa, dnsmessage.ClassINET))); got != "Success" {
		t.Errorf("without IPv6, localhost: %s", got)
	}
}

func TestStubAndWhatIsNoQuery(t *testing.T) {
	good := query(t, "example.com.", dnsmessage.TypeA, dnsmessage.ClassINET)
	change := func(at int, b byte) []byte {
		c := append([]byte{}, good...)
		c[at] = b
		return c
	}
	for name, tt := range map[string]struct {
		said []byte
		want string
	}{
		"nothing":       {nil, ""},
		"short":         {good[:11], ""},
		"answer":        {change(2, 0x81), ""},
		"status":        {change(2, 0x11), "NotImplemented"},
		"cut":           {good[:20], "FormatError"},
		"no question":   {change(5, 0), "FormatError"},
		"two questions": {change(5, 2), "FormatError"},
		"loop":          {append(append([]byte{}, good[:12]...), 0xc0, 12, 0, 1, 0, 1), "FormatError"},
	} {
		got := newStub().answer(tt.said)
		if (got == nil) != (tt.want == "") || got != nil && told(t, got) != tt.want {
			t.Errorf("%s: %x, want %q", name, got, tt.want)
		}
	}
}

func TestStubListens(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := New(io.Discard, nil)
	var addr string
	for try := 0; ; try++ { // the port that is free for one protocol may be in use for the other
		probe, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr = probe.LocalAddr().String()
		_ = probe.Close()
		if err = newStub().open(ctx, g, addr); err == nil {
			break
		}
		if try == 10 {
			t.Fatal(err)
		}
	}
	defer g.work.Wait()
	defer cancel()
	for _, network := range []string{"udp", "tcp"} {
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}
		if got, err := r.LookupHost(ctx, "example.com."); err != nil || fmt.Sprint(got) != "[198.18.0.1]" {
			t.Errorf("%s: %v, %v", network, got, err)
		}
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(append([]byte{0xff, 0xff}, make([]byte, 5000)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("an oversized query was answered")
	}
}

func TestNamesThatAreUsedKeepTheirAddresses(t *testing.T) {
	n := newNames(3)
	first := n.addr("a")
	for i := range 100 {
		n.addr(fmt.Sprint(i))
		if got := n.addr("a"); got != first {
			t.Fatalf("a has moved to %v", got)
		}
	}
	if len(n.names) != 3 || len(n.addrs) != 3 || n.order.Len() != 3 {
		t.Errorf("%d names, %d addresses", len(n.names), len(n.addrs))
	}
	for _, name := range []string{"a", "98", "99"} {
		if got, known := n.name(n.addr(name)); got != name || !known {
			t.Errorf("%s: %s, %v", name, got, known)
		}
	}
	if got := newNames(1); got.addr("x") != got.addr("y") {
		t.Error("two addresses where there is one")
	} else if name, _ := got.name(got.addr("y")); name != "y" {
		t.Errorf("the address is that of %q", name)
	}
}

func TestEveryAddressOfNamesIsOneOfStandIns(t *testing.T) {
	n := newNames(maxNames)
	for i := range maxNames + 10 {
		if addr := n.addr(fmt.Sprint(i)); !standsForName(addr) || addr == standIns.Addr() {
			t.Fatalf("name %d has %v", i, addr)
		}
	}
}

func FuzzStub(f *testing.F) {
	f.Add(query(f, "example.com.", dnsmessage.TypeA, dnsmessage.ClassINET))
	f.Add(query(f, "1.0.18.198.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.ClassINET))
	f.Fuzz(func(t *testing.T, said []byte) {
		got := newStub().answer(said)
		if got == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(got); err != nil || !m.Response || len(got) > 600 || m.ID != binary.BigEndian.Uint16(said) {
			t.Errorf("%x is answered with %x, %v", said, got, err)
		}
	})
}
