package scripted_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/server/gateway"
)

const repository = "../../.."

func newGateway(tb testing.TB, scripts string) *gateway.Gateway {
	tb.Helper()
	g, err := gateway.New(gateway.Config{Scripts: scripts, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// serve starts a gateway on scripts and returns its URL.
func serve(tb testing.TB, scripts string) string {
	tb.Helper()
	srv := httptest.NewServer(newGateway(tb, scripts))
	tb.Cleanup(srv.Close)
	return srv.URL
}

// script writes a script called name and returns its folder.
func script(tb testing.TB, name, text string) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "scripts")
	if err := os.Mkdir(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// ask posts a chat completion request and returns the status and the body, as far as
// it came.
func ask(tb testing.TB, url, body string) (*http.Response, string) {
	tb.Helper()
	return post(tb, url+chatPath, body)
}

// The paths of the wires.
const (
	chatPath      = "/v1/chat/completions"
	messagesPath  = "/v1/messages?beta=true"
	responsesPath = "/v1/responses"
)

func post(tb testing.TB, url, body string) (*http.Response, string) {
	tb.Helper()
	res, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body) // a cut answer ends in an error
	return res, string(text)
}

// golden compares got with a file of testdata, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join(repository, "testdata", file)
	if os.Getenv("LAP_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); LAP_UPDATE=1 writes it:\n%s", file, diff)
	}
}
