package vault_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"lap/sandbox"
	"lap/sandbox/vault"
)

// Addresses of this machine, its networks and its cloud, in every notation.
func TestInnerAddressesAreNeverDialled(t *testing.T) {
	for _, host := range []string{
		"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.0.0.1.", "0", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:7f00:1",
		"169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "169.254.43518", "[::ffff:169.254.169.254]", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
		"10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1",
		"224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1", "198.18.0.1",
		"localhost", "LOCALHOST.", "a.localhost", "host.docker.internal", "metadata.google.internal", "127.0.0.1\x00.example", "１２７.0.0.1", "127。0。0。1",
	} {
		for _, via := range []string{sandbox.ViaProxy, sandbox.ViaSOCKS} {
			w := newWorld(t)
			w.set(func(w *world) {
				for _, name := range []string{"localhost", "a.localhost", "host.docker.internal", "metadata.google.internal"} {
					w.names[name] = []string{publicAddr}
				}
			})
			if _, a := w.open(host, 80, via); a.Error == "" {
				t.Errorf("%q was connected", host)
			}
			w.nothing()
		}
	}
}

// What a name resolves to counts, and is what is dialled: it is not resolved twice.
func TestNamesThatLeadInside(t *testing.T) {
	w := newWorld(t)
	lookups := 0
	network := &vault.Network{Dial: w.dialAddr, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		lookups++
		if lookups == 1 {
			return []netip.Addr{netip.MustParseAddr(publicAddr)}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}}
	rebinding := w.with(network)
	conn, a := rebinding.open("rebind.example", 80, sandbox.ViaProxy)
	if a.Error != "" {
		t.Fatal(a)
	}
	conn.Close()
	if _, a = rebinding.open("rebind.example", 80, sandbox.ViaProxy); !a.Refused || !strings.Contains(a.Error, "127.0.0.1") {
		t.Errorf("answer = %+v", a)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.dialled) != 1 || w.dialled[0] != publicAddr+":80" {
		t.Errorf("dialled %v", w.dialled)
	}
}

func TestMixedAnswersOfDNS(t *testing.T) {
	w := newWorld(t)
	w.set(func(w *world) { w.names["mixed.example"] = []string{"127.0.0.1", "10.0.0.1", publicAddr, "::1"} })
	conn, a := w.open("mixed.example", 80, sandbox.ViaProxy)
	if a.Error != "" {
		t.Fatal(a)
	}
	conn.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.dialled) != 1 || w.dialled[0] != publicAddr+":80" {
		t.Errorf("dialled %v", w.dialled)
	}
}

// An address is opened only by its own name, not by a host's that leads to it.
func TestNamedInnerAddress(t *testing.T) {
	w := newWorld(t)
	w.set(func(w *world) {
		w.names["db.corp"] = []string{"10.1.2.3"}
		w.at["10.1.2.3:80"] = w.plain.Listener.Addr().String()
		w.policy.Rules.Allow = entries(t, "db.corp")
	})
	_, a := w.open("db.corp", 80, sandbox.ViaProxy)
	if !a.Refused || !strings.Contains(a.Error, "10.1.2.3") || !strings.Contains(a.Error, "allow_out") {
		t.Errorf("answer = %+v", a)
	}
	w.nothing()
	w.set(func(w *world) { w.policy.Rules.Allow = entries(t, "db.corp", "10.1.2.3") })
	if _, a := w.open("db.corp", 80, sandbox.ViaProxy); a.Error != "" {
		t.Errorf("answer = %+v", a)
	}
}

func TestLapsOwnPort(t *testing.T) {
	w := newWorld(t)
	w.set(func(w *world) { w.policy.Rules.Allow = entries(t, "127.0.0.1") })
	own := w.with(&vault.Network{Lookup: w.lookup, Dial: w.dialAddr, Own: func(a netip.AddrPort) bool { return a.Port() == 3000 }})
	if _, a := own.open("127.0.0.1", 3000, sandbox.ViaProxy); !a.Refused || !strings.Contains(a.Error, "lap itself") {
		t.Errorf("answer = %+v", a)
	}
	w.nothing()
}

// A connection to one host cannot be used to ask another that the same machine serves.
func TestFronting(t *testing.T) {
	w := newWorld(t)
	w.set(func(w *world) { w.policy.Rules.Deny = entries(t, "other.example") })
	t.Run("server name of another", func(t *testing.T) {
		for _, host := range []string{"api.github.com", "third.example"} {
			w.set(func(w *world) { w.names["third.example"] = []string{publicAddr} })
			conn, a := w.open(host, 443, sandbox.ViaProxy)
			if a.Error != "" {
				t.Fatal(a)
			}
			if status, text := getTLS(t, w, conn, "other.example"); status != 403 || !strings.Contains(text, "other.example") {
				t.Errorf("%s: %d %s", host, status, text)
			}
		}
	})
	t.Run("Host of another", func(t *testing.T) {
		conn, _ := w.open("api.github.com", 443, sandbox.ViaProxy)
		if status, text := get(t, secure(t, w, conn, "api.github.com"), "other.example"); status != 421 {
			t.Errorf("%d %s", status, text)
		}
		for _, request := range []string{
			"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n",
			"GET http://other.example/ HTTP/1.1\r\nHost: third.example\r\n\r\n",
			"\r\n\r\nGET / HTTP/1.1\r\nHost: other.example\r\n\r\n",
			"GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: other.example\r\n\r\n",
			"get / HTTP/1.1\r\nHost: other.example\r\n\r\n",
		} {
			conn, _ = w.open("third.example", 80, sandbox.ViaProxy)
			if status, text := exchange(t, conn, request); status == 200 {
				t.Errorf("%.40q: %d %s", request, status, text)
			}
		}
	})
	t.Run("the second request", func(t *testing.T) {
		conn, _ := w.open("third.example", 80, sandbox.ViaProxy)
		if status, _ := get(t, conn, "third.example"); status != 200 {
			t.Errorf("status = %d", status)
		}
		if status, _ := get(t, conn, "other.example"); status != 421 {
			t.Errorf("status = %d", status)
		}
	})
	t.Run("address", func(t *testing.T) {
		conn, a := w.open(publicAddr, 443, sandbox.ViaCapture)
		if a.Error != "" {
			t.Fatal(a)
		}
		if status, _ := getTLS(t, w, conn, "other.example"); status != 403 {
			t.Errorf("status = %d", status)
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.got {
		if r.Host == "other.example" {
			t.Errorf("the refused host was asked for %s", r.URL)
		}
	}
}

// A credential goes to the host it is bound to, whatever a request calls the host.
func TestCredentialGoesNowhereElse(t *testing.T) {
	w := newWorld(t)
	conn, _ := w.open("other.example", 80, sandbox.ViaProxy)
	_, _ = exchange(t, conn, "GET / HTTP/1.1\r\nHost: api.github.com\r\nX-Key: "+stubToken+"\r\n\r\n")
	conn, _ = w.open("other.example", 443, sandbox.ViaProxy)
	_, _ = getTLS(t, w, conn, "api.github.com")
	conn, _ = w.open("other.example", 80, sandbox.ViaProxy)
	_, _ = exchange(t, conn, "GET http://api.github.com/ HTTP/1.1\r\nHost: api.github.com\r\nX-Key: "+stubToken+"\r\n\r\n")
	conn, _ = w.open("api.github.com.other.example", 80, sandbox.ViaProxy)
	_, _ = exchange(t, conn, "GET / HTTP/1.1\r\nHost: api.github.com\r\nX-Key: "+stubToken+"\r\n\r\n")
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.got {
		if dump := fmt.Sprint(r.Header, r.URL); strings.Contains(dump, realToken) {
			t.Errorf("the credential was sent: %s", dump)
		}
	}
}

// What one parser takes for one request must not be two for another.
func TestSmuggling(t *testing.T) {
	for _, request := range []string{
		"POST / HTTP/1.1\r\nHost: api.github.com\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: api.github.com\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: api.github.com\r\nTransfer-Encoding: xchunked\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: api.github.com\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: api.github.com\r\nX: a\r\n folded: " + stubToken + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: api.github.com\r\nHost: other.example\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET /\r\nX: y HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: api.github.com\r\nTransfer-Encoding: chunked\r\n\r\n5;\x00ext\r\nhello\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: api.github.com\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF1\r\nhello\r\n0\r\n\r\n",
		"GET / HTTP/1.1\nHost: api.github.com\nX-Bare: line feeds\n\n",
		"GET /%0d%0aX-Injected:%20yes HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
		"CONNECT other.example:443 HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
	} {
		w := newWorld(t)
		conn, a := w.open("api.github.com", 80, sandbox.ViaProxy)
		if a.Error != "" {
			t.Fatal(a)
		}
		_, _ = exchange(t, conn, request)
		conn.Close()
		eventually(t, "no more requests at the host than were read and passed on", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			passed := 0
			for _, r := range w.asked {
				if r.Status == http.StatusOK || r.Status == http.StatusBadGateway || r.Status == 0 { // who asked may have gone
					passed++
				}
			}
			return len(w.got) <= passed
		})
		w.mu.Lock()
		for _, r := range w.got {
			if r.Header.Get("X-Injected") != "" || r.Method == http.MethodConnect || r.Host != "api.github.com" {
				t.Errorf("%.60q: the host got %s %s %v", request, r.Method, r.URL, r.Header)
			}
		}
		w.mu.Unlock()
	}
}

// The stub comes in pieces, on the wire and in chunks.
func TestStubInPieces(t *testing.T) {
	w := newWorld(t)
	conn, _ := w.open("api.github.com", 80, sandbox.ViaProxy)
	for _, b := range []byte("GET /?a=" + stubToken + " HTTP/1.1\r\nHost: api.github.com\r\nAuthorization: Bearer " + stubToken + "\r\n\r\n") {
		if _, err := conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if status, _ := exchange(t, conn, ""); status != 200 {
		t.Errorf("status = %d", status)
	}
	got, _ := w.only()
	if got.RequestURI != "/?a="+realToken || got.Header.Get("Authorization") != "Bearer "+realToken {
		t.Errorf("the host got %s %v", got.RequestURI, got.Header)
	}
}

// Streams of nonsense end, and cost nothing.
func TestForgedRequests(t *testing.T) {
	w := newWorld(t)
	for _, line := range []string{
		"", "\n", "{}\n", "null\n", `{"host":"api.github.com","port":443}` + "\n", `{"host":"api.github.com","port":0,"via":"proxy"}` + "\n",
		`{"host":"api.github.com","port":99999,"via":"proxy"}` + "\n", `{"host":["a"],"port":1,"via":"proxy"}` + "\n",
		strings.Repeat("x", 100_000), `{"host":"` + strings.Repeat("a.", 3000) + `","port":1,"via":"proxy"}` + "\n",
		`{"host":"api.github.com\r\nX: y","port":443,"via":"proxy"}` + "\n", "\x16\x03\x01\x00\x05hello\n",
	} {
		conn := w.stream()
		go func() { _, _ = io.WriteString(conn, line); _ = conn.(*net.TCPConn).CloseWrite() }()
		_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
		answer, _ := io.ReadAll(conn)
		if len(answer) > 0 && !bytes.Contains(answer, []byte(`"error"`)) {
			t.Errorf("%.40q: %s", line, answer)
		}
	}
	w.nothing()
}

// HTTP/2 has a name of its own for the host, and streams without end.
func TestHTTP2Authority(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	req, err := http.NewRequest(http.MethodGet, "https://api.github.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "other.example"
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("%s %s", res.Proto, res.Status)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.got) != 0 {
		t.Errorf("the host got %d requests", len(w.got))
	}
}

// zeros is an endless body that costs nothing to make.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A large upload does not stay in memory, whether it is read or not.
func TestLargeUpload(t *testing.T) {
	const size = 256 << 20
	w := newWorld(t)
	for _, host := range []string{"api.github.com", "other.example"} {
		w.host.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(rw, n)
		})
		peak := watchHeap(t)
		res, err := w.client().Post("https://"+host+"/", "application/octet-stream", io.LimitReader(zeros{}, size))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(text) != fmt.Sprint(size) {
			t.Errorf("%s: the host got %s bytes", host, text)
		}
		if grown := peak(); grown > 64<<20 {
			t.Errorf("%s: the heap grew by %d MiB", host, grown>>20)
		}
	}
}

// watchHeap returns what tells by how much the heap grew at most since.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	runtime.GC()
	before, most := heap(), uint64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			most = max(most, heap())
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-stopped
		return max(most, before) - before
	}
}

// A server that speaks first is not kept waiting, also where HTTP would be read.
func TestServerSpeaksFirst(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "SSH-2.0-server\r\n")
		buf := make([]byte, 64)
		n, _ := conn.Read(buf)
		_, _ = conn.Write(bytes.ToUpper(buf[:n]))
	}()
	w := newWorld(t)
	w.set(func(w *world) { w.at[publicAddr+":22"] = l.Addr().String() })
	conn, a := w.open("api.github.com", 22, sandbox.ViaCapture)
	if a.Error != "" {
		t.Fatal(a)
	}
	buf := make([]byte, 16)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "SSH-2.0-server\r\n" {
		t.Fatalf("%q, %v", buf, err)
	}
	_, _ = io.WriteString(conn, "SSH-2.0-client\r\n")
	if rest, _ := io.ReadAll(conn); string(rest) != "SSH-2.0-CLIENT\r\n" {
		t.Errorf("rest = %q", rest)
	}
}

// TLS that cannot be understood is not passed on where something could hide in it.
func TestStrangeTLS(t *testing.T) {
	w := newWorld(t)
	conn, _ := w.open("api.github.com", 443, sandbox.ViaProxy)
	if _, err := conn.Write(append([]byte{0x16, 3, 1, 0, 5}, "hello, and more"...)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}
