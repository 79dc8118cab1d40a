//go:build linux

package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"lap/sandbox"
	"lap/sandbox/pipe"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// An outside is a guest's proxy with a host behind it whose connections lead to code of
// the test.
type outside struct {
	t      *testing.T
	guest  *Guest
	addr   string                                           // of the proxy
	answer func(sandbox.EgressRequest) sandbox.EgressAnswer // nil: yes to all
	serve  func(asked sandbox.EgressRequest, conn net.Conn) // has the connection; nil: echo
	raw    func(conn net.Conn)                              // has the stream in place of answer and serve
	mu     sync.Mutex                                       // guards asked
	asked  []sandbox.EgressRequest                          // all so far
	work   sync.WaitGroup
}

// newOutside starts a proxy, for which lap is away until connect.
func newOutside(t *testing.T, o *outside) *outside {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	o.t, o.guest = t, New(io.Discard, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.addr = l.Addr().String()
	p := o.guest.newProxy(ctx)
	o.guest.work.Go(func() {
		o.guest.accept(ctx, l, maxOutward, func(conn net.Conn) { p.serve(ctx, conn.(*net.TCPConn)) })
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		o.guest.work.Wait() // everything ends with ctx
		o.work.Wait()
	})
	return o
}

// ProxyTo starts the proxy of a guest whose streams to the host go to serve, and returns its
// address.
func ProxyTo(t *testing.T, serve func(conn net.Conn)) (addr string) {
	t.Helper()
	o := newOutside(t, &outside{raw: serve})
	o.connect()
	return o.addr
}

// connect opens a pipe, as lap does when it comes back. The result ends it.
func (o *outside) connect() (end func()) {
	o.t.Helper()
	a, b := net.Pipe()
	host, err := pipe.NewHost(a)
	if err != nil {
		o.t.Fatal(err)
	}
	guest, err := pipe.NewGuest(b)
	if err != nil {
		o.t.Fatal(err)
	}
	l := pipe.NewListener()
	o.work.Go(func() { host.Serve("s", map[pipe.Service]*pipe.Listener{pipe.Egress: l}) })
	o.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			o.work.Go(func() {
				if o.raw != nil {
					o.raw(conn)
					return
				}
				o.one(conn)
			})
		}
	})
	o.guest.link.add(guest)
	end = sync.OnceFunc(func() {
		o.guest.link.remove(guest)
		_ = host.Close()
		_ = l.Close()
		_ = guest.Close()
	})
	o.t.Cleanup(end)
	return end
}

// one is the host's side of a connection.
func (o *outside) one(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	line, err := in.ReadBytes('\n')
	if len(line) == 0 { // nobody asked
		return
	}
	var asked sandbox.EgressRequest
	if err != nil || json.Unmarshal(line, &asked) != nil || len(line) > sandbox.MaxEgressLine {
		o.t.Errorf("request %q, %v", line, err)
		return
	}
	o.mu.Lock()
	o.asked = append(o.asked, asked)
	o.mu.Unlock()
	var answer sandbox.EgressAnswer
	if o.answer != nil {
		answer = o.answer(asked)
	}
	text, _ := json.Marshal(answer)
	if _, err := conn.Write(append(text, '\n')); err != nil || answer.Error != "" {
		return
	}
	if o.serve == nil {
		_, _ = io.Copy(conn, in)
		return
	}
	o.serve(asked, readConn{conn, in})
}

// requests are the connections asked for so far.
func (o *outside) requests() []sandbox.EgressRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]sandbox.EgressRequest{}, o.asked...)
}

// dial connects with the proxy.
func (o *outside) dial() *net.TCPConn {
	o.t.Helper()
	conn, err := net.Dial("tcp", o.addr)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		o.t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// free waits until no connection has a slot.
func (o *outside) free() {
	o.t.Helper()
	for begin := time.Now(); len(o.guest.egress.slots) > 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			o.t.Fatalf("%d connections still count", len(o.guest.egress.slots))
		}
	}
}

// A readConn is a connection of which some has been read ahead.
type readConn struct {
	net.Conn
	r io.Reader
}

func (c readConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// web makes each connection one with an HTTP server.
func web(handler http.HandlerFunc) func(sandbox.EgressRequest, net.Conn) {
	return func(_ sandbox.EgressRequest, conn net.Conn) {
		l := newLines()
		c := &closing{Conn: conn, closed: l.close}
		srv := &http.Server{Handler: handler}
		go func() { l.calls <- c }()
		_ = srv.Serve(l)
		<-l.closed
	}
}

// A closing tells when it is closed.
type closing struct {
	net.Conn
	closed func()
}

func (c *closing) Close() error { defer c.closed(); return c.Conn.Close() }

// refuseAll is a rule.
func refuseAll(sandbox.EgressRequest) sandbox.EgressAnswer {
	return sandbox.EgressAnswer{Error: "example.com is not on the list.", Refused: true}
}

// failAll is the network.
func failAll(sandbox.EgressRequest) sandbox.EgressAnswer {
	return sandbox.EgressAnswer{Error: "example.com has no address."}
}
