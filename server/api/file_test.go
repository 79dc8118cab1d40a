package api_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestReadFile(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	guest := w.newGuest(t)
	guest.HandleFunc("GET /files", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Query().Get("path"), "/") {
			w.Header().Set("Content-Type", "application/x-tar")
			_, _ = io.WriteString(w, "tar of "+r.URL.Query().Get("path"))
			return
		}
		w.Header().Set("Content-Type", "text/html") // a guest may say what it wants
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Content-Length", "3")
		_, _ = io.WriteString(w, "<b>")
	})
	guest.HandleFunc("GET /diff", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "--- a\n") })
	tests := []struct{ path, body, kind, disposition, length string }{
		{"/files?path=/work/repo/a%20%26b.txt", "<b>", "application/octet-stream", `attachment; filename="a &b.txt"`, "3"},
		{"/files?path=%C3%A4", "<b>", "application/octet-stream", "attachment; filename*=utf-8''%C3%A4", "3"},
		{"/files?path=..%2F..", "<b>", "application/octet-stream", `attachment; filename="/"`, "3"},
		{"/files?path=src/", "tar of src/", "application/x-tar", "attachment; filename=src.tar", "11"},
		{"/diff", "--- a\n", "text/x-diff; charset=utf-8", "attachment; filename=" + id + ".diff", "6"},
	}
	for _, tt := range tests {
		for _, method := range []string{"GET", "HEAD"} {
			r := w.do(t, method, sessions+"/"+id+tt.path, nil).want(t, 200)
			body := tt.body
			if method == "HEAD" {
				body = ""
			}
			if r.body != body {
				t.Errorf("%s %s: body = %q, want %q", method, tt.path, r.body, body)
			}
			for name, want := range map[string]string{
				"Content-Type": tt.kind, "Content-Disposition": tt.disposition, "Content-Length": tt.length,
				"X-Content-Type-Options": "nosniff", "Set-Cookie": "",
			} {
				if got := r.header.Get(name); got != want {
					t.Errorf("%s %s: %s = %q, want %q", method, tt.path, name, got, want)
				}
			}
		}
	}
	w.wantReleased(t, 2*len(tests))
}

func TestReadFileFaults(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	id := w.newSession(t, agent)
	creating := w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	guest := w.newGuest(t)
	guest.HandleFunc("GET /files", func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Query().Get("path"); path {
		case "cut":
			panic(http.ErrAbortHandler)
		case "begun":
			w.Header().Set("Content-Length", "1000000")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			status, err := strconv.Atoi(path)
			if err != nil {
				status = 200
			}
			http.Error(w, "no such\nfile", status)
		}
	})
	get := func(path string) response { return w.do(t, "GET", sessions+"/"+path, nil) }
	get(id+"/files").wantError(t, 400, "path: is required")
	get(id+"/files?path=").wantError(t, 400, "path: is required")
	get(noID+"/files").wantError(t, 404, "session "+noID+" not found or not ready")
	get(creating+"/files").wantError(t, 400, "path: ")
	get(creating+"/files?path=x").wantError(t, 404, "session "+creating+" not found or not ready")
	get(creating+"/diff").wantError(t, 404, "session "+creating+" not found or not ready")
	get(id+"/files?path=404").wantError(t, 404, "no such file")
	get(id+"/files?path=409").wantError(t, 409, "no such file")
	get(id+"/files?path=500").wantError(t, 502, "no such file")
	get(id+"/files?path=301").wantError(t, 502, "no such file")
	get(id+"/files?path=cut").wantError(t, 502, "the sandbox broke off")
	get(id+"/files?path=begun").wantError(t, 502, "the sandbox broke off")
	get(id+"/diff").wantError(t, 404, "404 page not found")
	w.wantReleased(t, 7)
}

// TestTruncatedFile makes sure that a client can tell a part of a file from the whole.
func TestTruncatedFile(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	guest := w.newGuest(t)
	for path, length := range map[string]string{"/files": "1000000", "/diff": ""} {
		guest.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			breakOff(w, strings.Repeat("x", 100_000))
		})
		l := w.listen(t, "GET", sessions+"/"+id+path+"?path=x", "")
		if got, err := io.ReadAll(l.body); err == nil {
			t.Errorf("%s: %d bytes look like all", path, len(got))
		}
	}
}

func TestWriteFile(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	guest := w.newGuest(t)
	got := make(chan string, 10)
	guest.HandleFunc("PUT /files", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("path") == "full" {
			http.Error(w, "no space left on device", http.StatusInsufficientStorage)
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		got <- fmt.Sprint(r.URL.Query().Get("path"), " ", r.Header.Get("Content-Type"), " ", r.ContentLength, " ", n, " ", err)
		w.WriteHeader(http.StatusNoContent)
	})
	path := sessions + "/" + id + "/files?path="
	put := func(name, body, kind string) response {
		return w.send(t, "PUT", path+name, body, map[string]string{"Authorization": "Bearer " + masterKey, "Content-Type": kind})
	}
	large := strings.Repeat("x", 3<<20)
	for _, tt := range []struct{ name, body, kind, want string }{
		{"a%20b", "hello", "text/plain", "a b text/plain 5 5 <nil>"},
		{"dir", "tar", "application/x-tar", "dir application/x-tar 3 3 <nil>"},
		{"empty", "", "text/plain", "empty text/plain 0 0 <nil>"},
		{"large", large, "text/plain", fmt.Sprint("large text/plain ", len(large), " ", len(large), " <nil>")},
	} {
		if r := put(tt.name, tt.body, tt.kind).want(t, 204); r.body != "" {
			t.Errorf("%s: body = %s", tt.name, r.body)
		}
		if text := <-got; text != tt.want {
			t.Errorf("%s: the guest got %s, want %s", tt.name, text, tt.want)
		}
	}
	put("full", "x", "").wantError(t, 502, "no space left on device")
	put("", "x", "").wantError(t, 400, "path: is required")
	w.do(t, "PUT", sessions+"/"+noID+"/files?path=x", "x").wantError(t, 404, "not found or not ready")
	head := "PUT " + path + "x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + masterKey + "\r\nTransfer-Encoding: chunked\r\n\r\n"
	if status := w.raw(t, head+"5\r\nhello\r\n0\r\n\r\n"); status != 204 {
		t.Errorf("in chunks: %d", status)
	}
	if text := <-got; text != "x  -1 5 <nil>" {
		t.Errorf("in chunks the guest got %s", text)
	}
	if status := w.raw(t, head+"zz\r\n"); status != 400 {
		t.Errorf("a body that breaks off: %d, want 400", status)
	}
}
