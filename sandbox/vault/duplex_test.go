package vault_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestDuplex talks as gRPC does: the client says more when it has heard the answer to what
// it has said, and the host has a last word in a trailer.
func TestDuplex(t *testing.T) {
	w := newWorld(t)
	w.host.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Trailer", "Grpc-Message")
		rw.Header().Set("Content-Type", "application/grpc")
		_ = http.NewResponseController(rw).Flush()
		for lines := bufio.NewReader(r.Body); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			_, _ = io.WriteString(rw, r.Header.Get("Authorization")+" "+line)
			_ = http.NewResponseController(rw).Flush()
		}
		rw.Header().Set("Grpc-Message", "done "+r.Header.Get("Authorization"))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	body, say := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.github.com/", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", stubToken)
	req.Header.Set("Content-Type", "application/grpc")
	res, err := w.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	heard := bufio.NewReader(res.Body)
	for _, word := range []string{"one\n", "two\n"} {
		if _, err := io.WriteString(say, word); err != nil {
			t.Fatal(err)
		}
		want := (stubToken + "**************************************")[:len(realToken)] + " " + word
		if line, err := heard.ReadString('\n'); err != nil || line != want {
			t.Errorf("heard %q, %v, want %q", line, err, want)
		}
	}
	if err := say.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(heard); err != nil || len(rest) > 0 {
		t.Errorf("then %q, %v", rest, err)
	}
	if got, want := res.Trailer.Get("Grpc-Message"), "done "+stubToken; res.ProtoMajor != 2 || got != want {
		t.Errorf("%s trailer %q, want %q", res.Proto, got, want)
	}
}
