//go:build linux

package guest

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"

	"lap/sandbox"
)

func TestSOCKS(t *testing.T) {
	const hello, welcome = "\x05\x01\x00", "\x05\x00"
	const granted = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	for _, tt := range []struct {
		name, said string
		answer     func(sandbox.EgressRequest) sandbox.EgressAnswer
		want       string
		host       string
	}{
		{"name", hello + "\x05\x01\x00\x03\x06a.test\x01\xbb" + "ping", nil, welcome + granted + "ping", "a.test"},
		{"IPv4", hello + "\x05\x01\x00\x01\x01\x02\x03\x04\x01\xbb", nil, welcome + granted, "1.2.3.4"},
		{"IPv6", hello + "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb", nil, welcome + granted, "2001:db8::1"},
		{"address of a name", hello + "\x05\x01\x00\x01\xc6\x12\x00\x01\x01\xbb", nil, welcome + granted, "known.test"},
		{"password", "\x05\x02\x01\x02\x01\x01u\x02pw\x05\x01\x00\x03\x06a.test\x01\xbb", nil, "\x05\x02\x01\x00" + granted, "a.test"},
		{"empty password", "\x05\x01\x02\x01\x00\x00\x05\x01\x00\x03\x06a.test\x01\xbb", nil, "\x05\x02\x01\x00" + granted, "a.test"},
		{"no method", "\x05\x01\x01", nil, "\x05\xff", ""},
		{"refused", hello + "\x05\x01\x00\x03\x06a.test\x01\xbb", refuseAll, welcome + "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "a.test"},
		{"failed", hello + "\x05\x01\x00\x03\x06a.test\x01\xbb", failAll, welcome + "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00", "a.test"},
		{"bind", hello + "\x05\x02\x00\x03\x06a.test\x01\xbb", nil, welcome + "\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		{"UDP", hello + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", nil, welcome + "\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		{"unknown address", hello + "\x05\x01\x00\x02", nil, welcome + "\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		{"no host", hello + "\x05\x01\x00\x03\x00\x01\xbb", nil, welcome + "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		{"host with a newline", hello + "\x05\x01\x00\x03\x03a\nb\x01\xbb", nil, welcome + "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		{"cut", hello + "\x05\x01\x00\x03\x06a.t", nil, welcome, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOutside(t, &outside{answer: tt.answer})
			o.guest.egress.names.addr("known.test")
			o.connect()
			conn := o.dial()
			if _, err := io.WriteString(conn, tt.said); err != nil {
				t.Fatal(err)
			}
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(conn); string(got) != tt.want || err != nil {
				t.Errorf("answered %q, %v, want %q", got, err, tt.want)
			}
			host := ""
			if asked := o.requests(); len(asked) > 0 {
				host = asked[0].Host
				if asked[0].Port != 443 || asked[0].Via != sandbox.ViaSOCKS || len(asked) > 1 {
					t.Errorf("asked for %+v", asked)
				}
			}
			if host != tt.host {
				t.Errorf("asked for host %q, want %q", host, tt.host)
			}
			o.free()
		})
	}
}

// A heard is a client whose words are known and whose ears are not.
type heard struct {
	*bytes.Reader
	io.Writer
}

// socksAsk is a request whose greeting is over, put together anew.
func socksAsk(host string, port int) []byte {
	ask := []byte{5, 1, 0}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Zone() == "" {
		ask = append(append(ask, map[bool]byte{true: socksIPv4, false: socksIPv6}[addr.Is4()]), addr.AsSlice()...)
	} else {
		ask = append(append(ask, socksDomain, byte(len(host))), host...)
	}
	return append(ask, byte(port>>8), byte(port))
}

func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x06a.test\x01\xbb"))
	f.Add([]byte("\x05\x02\x01\x02\x01\x01u\x02pw\x05\x01\x00\x01\x01\x02\x03\x04\x01\xbb"))
	f.Add([]byte("\x05\x01\x00\x05\x03\x00\x04"))
	f.Fuzz(func(t *testing.T, said []byte) {
		in := bytes.NewReader(said)
		host, port, err := socksRequest(heard{in, io.Discard})
		if err != nil {
			return
		}
		used := said[:len(said)-in.Len()]
		ask := socksAsk(host, port)
		ask[2] = used[max(0, len(used)-len(ask)+2)] // reserved, and not looked at
		named := append([]byte{5, 1, ask[2], socksDomain, byte(len(host))}, host...)
		named = append(named, byte(port>>8), byte(port))
		if used[0] != 5 || !bytes.HasSuffix(used, ask[3:]) && !bytes.HasSuffix(used, named[3:]) {
			t.Errorf("%q is taken for %q port %d", used, host, port)
		}
	})
}

func FuzzTarget(f *testing.F) {
	for _, host := range []string{"a.test", "", "a\nb", "198.18.0.1", "::ffff:198.18.0.1", "bücher.test", strings.Repeat("<", 300)} {
		f.Add(host)
	}
	e := newEgress(newLink())
	e.names.addr("known.test")
	f.Fuzz(func(t *testing.T, host string) {
		got, err := e.target(host)
		if err == nil && got != host && got != "known.test" {
			t.Errorf("%q became %q", host, got)
		}
		if err == nil && (got == "" || len(got) > maxHost || strings.ContainsAny(got, " \n\r\x00")) {
			t.Errorf("%q is taken for a host", got)
		}
	})
}
