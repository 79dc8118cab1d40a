package api_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A fakeGuest is what a sandbox answers.
type fakeGuest struct {
	*http.ServeMux
	requests chan *http.Request // those that reached it, without their bodies
}

// newGuest gives the sandboxes of a world a guest.
func (w *world) newGuest(t *testing.T) fakeGuest {
	t.Helper()
	g := fakeGuest{http.NewServeMux(), make(chan *http.Request, 100)}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		g.requests <- r
		g.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}}
	t.Cleanup(client.CloseIdleConnections)
	w.engine.set(func() { w.engine.guest = client })
	return g
}

// breakOff ends a connection in the middle of an answer.
func breakOff(w http.ResponseWriter, sent string) {
	_, _ = w.Write([]byte(sent))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// wantReleased fails the test unless every sandbox that was used was given back.
func (w *world) wantReleased(t *testing.T, n int) {
	t.Helper()
	w.engine.set(func() {
		if w.engine.released != n {
			t.Errorf("sandboxes were released %d times, want %d", w.engine.released, n)
		}
	})
}
