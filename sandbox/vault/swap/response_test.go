package swap_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"lap/sandbox/vault/swap"
)

func packed(pieces ...string) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	for _, p := range pieces {
		_, _ = w.Write([]byte(p)) // a buffer takes all
		w.Flush()
	}
	w.Close()
	return out.Bytes()
}

func TestResponseBody(t *testing.T) {
	const jsonType, plainType, bin = "application/json", "text/plain", "application/octet-stream"
	mask := tokenCred.Stub + "*"
	asJSON, err := json.Marshal(strange)
	if err != nil {
		t.Fatal(err)
	}
	stub := strangeCred.Stub
	tests := []struct {
		name, kind, in, want string
	}{
		{"text", plainType, "a " + token + token + " b", "a " + tokenCred.Stub + tokenCred.Stub + " b"},
		{"no type", "", token, tokenCred.Stub},
		{"nothing", plainType, "abc \xff", "abc \xff"},
		{"end in a prefix", plainType, "abc ghp_0123", "abc ghp_0123"},
		{"short values stay", plainType, "1234", "1234"},
		{"json", jsonType, `{"a":` + string(asJSON) + `}`, `{"a":"` + stub + `"}`},
		{"json, ascii", jsonType, `"p&s \"w/rd+\u00e9%<='x"`, `"` + stub + `"`},
		{"json, slashes", jsonType, `"p&s \"w\/rd+é%<='x"`, `"` + stub + `"`},
		{"query", "application/x-www-form-urlencoded", "a=" + url.QueryEscape(strange), "a=" + stub},
		{"path, lower case", plainType, "/" + strings.ToLower(url.PathEscape(strange)), "/" + stub},
		{"html", "text/html", "<p>" + html.EscapeString(strange), "<p>" + stub},
		{"html, named", "text/html", "p&amp;s &quot;w/rd+é%&lt;=&apos;x", stub},
		{"binary", bin, "\x00" + token + "\xff", "\x00" + mask + "\xff"},
		{"binary, longer than the stub", bin, strange + strange[1:], "stub_strange_22222222"[:len(strange)] + strange[1:]},
		{"parts", "multipart/mixed; boundary=x", token, mask},
	}
	pad := strings.Repeat("0123456789", 8<<10)
	for _, tt := range tests {
		for _, form := range []string{"short", "long", "streamed", "gzip", "gzip, streamed"} {
			t.Run(tt.name+", "+form, func(t *testing.T) {
				r := newRelay(t, keys(swap.BodiesOAuth), func(w http.ResponseWriter, _ *http.Request) {
					w.Header()["Content-Type"] = []string{tt.kind}
					if tt.kind == "" {
						w.Header()["Content-Type"] = nil
					}
					respond(w, tt.in, pad, form)
				})
				res := r.do(t, "GET", "/", nil, func(req *http.Request) { req.Header.Set("Accept-Encoding", "gzip") })
				want := tt.want
				if form == "long" {
					want = pad + want
				}
				got := text(t, res)
				if masked := tt.kind == bin || strings.HasPrefix(tt.kind, "multipart/"); masked && strings.HasSuffix(form, "streamed") {
					// Up to three bytes do not wait for the rest.
					if len(got) != len(want) || !strings.HasSuffix(got, want[4:]) {
						t.Errorf("got %.100q, want the end of %.100q", got, want)
					}
				} else if got != want {
					t.Errorf("got %.100q, want %.100q", got, want)
				}
				if form == "short" && res.ContentLength != int64(len(want)) {
					t.Errorf("length %d, want %d", res.ContentLength, len(want))
				}
				if got := res.Header.Get("Content-Encoding"); got != "" {
					t.Errorf("still in encoding %q", got)
				}
			})
		}
	}
}

// respond writes in as form says: whole, behind pad, byte by byte, or packed.
func respond(w http.ResponseWriter, in, pad, form string) {
	var b []byte
	switch form {
	case "long":
		b = []byte(pad + in)
	case "gzip", "gzip, streamed":
		w.Header().Set("Content-Encoding", "gzip")
		b = packed(strings.Split(in, "")...)
	default:
		b = []byte(in)
	}
	if !strings.HasSuffix(form, "streamed") {
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b)
		return
	}
	for i := range b {
		_, _ = w.Write(b[i : i+1])
		http.NewResponseController(w).Flush()
	}
}

func TestResponseBase64(t *testing.T) {
	for lead := range 6 {
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding} {
			for _, c := range []swap.Credential{tokenCred, strangeCred} {
				in := enc.EncodeToString([]byte("user:name"[:lead] + c.Value + "tail"))
				r := newRelay(t, keys(swap.BodiesOAuth), func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/plain")
					fmt.Fprintf(w, "you sent <%s>", in)
				})
				got := text(t, r.do(t, "GET", "/", nil, nil))
				plain, err := enc.DecodeString(strings.TrimSuffix(strings.TrimPrefix(got, "you sent <"), ">"))
				if err != nil || len(got) != len(in)+len("you sent <>") {
					t.Fatalf("lead %d: %q became %q: %v", lead, in, got, err)
				}
				core := c.Value[1 : len(c.Value)-1]
				if bytes.Contains(plain, []byte(core[:4])) || bytes.Contains(plain, []byte(core[len(core)-4:])) ||
					!bytes.HasPrefix(plain, []byte("user:name"[:lead])) || !bytes.HasSuffix(plain, []byte("tail")) {
					t.Errorf("lead %d: got %q", lead, plain)
				}
			}
		}
	}
}

func TestResponseHeaders(t *testing.T) {
	r := newRelay(t, keys(swap.BodiesOAuth), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("Location", "/?k="+url.QueryEscape(strange))
		w.Header().Set("Set-Cookie", "a="+token)
		w.Header().Set("X-Echo", basic("u:"+token))
		_, _ = io.WriteString(w, "text")
		w.Header().Set("X-Sum", token)
		w.Header().Set(http.TrailerPrefix+"X-Late", token)
	})
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res := r.do(t, "GET", "/", nil, nil)
	text(t, res)
	if got := res.Header.Get("Location"); got != "/?k="+strangeCred.Stub {
		t.Errorf("Location: %q", got)
	}
	if got := res.Header.Get("Set-Cookie"); got != "a="+tokenCred.Stub {
		t.Errorf("Set-Cookie: %q", got)
	}
	if got := res.Header.Get("X-Echo"); len(got) != len(basic("u:"+token)) || got == basic("u:"+token) {
		t.Errorf("X-Echo: %q", got)
	}
	for _, name := range []string{"X-Sum", "X-Late"} {
		if got := res.Trailer.Get(name); got != tokenCred.Stub {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestResponseRefused(t *testing.T) {
	tests := []struct {
		name   string
		status int
		header http.Header
		method string
		fine   bool
	}{
		{"brotli", 200, http.Header{"Content-Encoding": {"br"}}, "GET", false},
		{"twice", 200, http.Header{"Content-Encoding": {"gzip, gzip"}}, "GET", false},
		{"part of gzip", 206, http.Header{"Content-Encoding": {"gzip"}}, "GET", false},
		{"part of an archive", 206, http.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"application/x-gzip"}}, "GET", false},
		{"head", 200, http.Header{"Content-Encoding": {"br"}}, "HEAD", true},
		{"not modified", 304, http.Header{"Content-Encoding": {"br"}}, "GET", true},
		{"identity", 200, http.Header{"Content-Encoding": {"identity"}}, "GET", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := &http.Response{
				StatusCode: tt.status, Header: tt.header, ContentLength: -1,
				Body: io.NopCloser(strings.NewReader("")), Request: &http.Request{Method: tt.method},
			}
			if err := keys(swap.BodiesOAuth).Response(res); (err == nil) != tt.fine {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestResponseRangeKeepsLength(t *testing.T) {
	r := newRelay(t, keys(swap.BodiesOAuth), func(w http.ResponseWriter, req *http.Request) {
		req.Header.Set("Range", "bytes=2-30") // was not passed on; this host answers in parts unasked
		http.ServeContent(w, req, "a.txt", time.Time{}, strings.NewReader("0123"+token+"56789"))
	})
	res := r.do(t, "GET", "/", nil, nil)
	want := "23" + tokenCred.Stub + "*" + "56789"
	if got := text(t, res); got != want || res.ContentLength != int64(len(want)) || res.StatusCode != http.StatusPartialContent {
		t.Errorf("got %q, length %d, status %d", got, res.ContentLength, res.StatusCode)
	}
}

func TestResponseHead(t *testing.T) {
	r := newRelay(t, keys(swap.BodiesOAuth), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "12345")
		w.Header().Set("Content-Encoding", "gzip")
	})
	if res := r.do(t, "HEAD", "/", nil, nil); res.ContentLength != 12345 || res.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("got %v", res.Header)
	}
}

func TestResponseBrokenGzip(t *testing.T) {
	tests := []struct {
		name string
		body []byte
		fine bool
	}{
		{"empty", nil, true},
		{"cut off", packed(strings.Repeat("text ", 99))[:20], false},
		{"no gzip", []byte("plain text, in truth"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := &http.Response{
				StatusCode: http.StatusOK, Header: http.Header{"Content-Encoding": {"gzip"}, "Etag": {`"1"`}},
				Body: io.NopCloser(bytes.NewReader(tt.body)), ContentLength: int64(len(tt.body)),
			}
			if err := keys(swap.BodiesOAuth).Response(res); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(res.Body); (err == nil) != tt.fine {
				t.Errorf("error %v", err)
			}
			if res.ContentLength != -1 || res.Header.Get("Etag") != `W/"1"` {
				t.Errorf("length %d, header %v", res.ContentLength, res.Header)
			}
		})
	}
}

func TestResponseTextThatBreaksOff(t *testing.T) {
	r := newRelay(t, keys(swap.BodiesOAuth), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "so far: "+token)
	})
	res := r.do(t, "GET", "/", nil, nil)
	got, err := io.ReadAll(res.Body)
	if want := "so far: " + tokenCred.Stub; string(got) != want || err == nil {
		t.Errorf("got %q, %v, want %q and an error", got, err, want)
	}
}

func TestResponseEventsComeAtOnce(t *testing.T) {
	for _, encoding := range []string{"", "gzip"} {
		t.Run("encoding "+encoding, func(t *testing.T) {
			next := make(chan bool, 1)
			r := newRelay(t, keys(swap.BodiesOAuth), func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				var out io.Writer = w
				flush := func() {}
				if encoding == "gzip" {
					w.Header().Set("Content-Encoding", "gzip")
					zip := gzip.NewWriter(w)
					defer zip.Close()
					out, flush = zip, func() { zip.Flush() }
				}
				for range next {
					_, _ = io.WriteString(out, "data: "+token+"\n\n")
					flush()
					http.NewResponseController(w).Flush()
				}
			})
			next <- true
			lines := bufio.NewReader(r.do(t, "GET", "/", nil, nil).Body)
			for range 3 {
				line, err := lines.ReadString('\n')
				if want := "data: " + tokenCred.Stub + "\n"; line != want || err != nil {
					t.Fatalf("got %q, %v, want %q", line, err, want)
				}
				if _, err := lines.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
				next <- true
			}
			close(next)
		})
	}
}

func TestResponseUpgrade(t *testing.T) {
	r := newRelay(t, keys(swap.BodiesOAuth), func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Echo: "+token+"\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Header.Get("X-Echo"); got != tokenCred.Stub {
		t.Errorf("header %q", got)
	}
	for _, step := range []struct{ send, want string }{
		{"g", "g"}, {"h", "h"}, {"i", "i"}, // single keys of a terminal
		{"\x81\x13" + token + "\x00", "\x81\x13" + tokenCred.Stub + "*\x00"},
	} {
		_, _ = io.WriteString(conn, step.send)
		got := make([]byte, len(step.want))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != step.want {
			t.Fatalf("got %q, %v, want %q", got, err, step.want)
		}
	}
}

func TestThereAndBack(t *testing.T) {
	r := newRelay(t, keys(swap.BodiesText), func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", req.Header.Get("Content-Type"))
		body, _ := io.ReadAll(req.Body) // a server gives up the body of who answers before its end
		_, _ = w.Write(body)
	})
	for _, kind := range []string{"text/plain", "application/json", "application/x-www-form-urlencoded", "text/xml"} {
		in := strings.Repeat(`{"a":"stub_token_11111111stub_strange_22222222 stub_lines_33333333","b":"stub_token_11111111_2 stub_"}`, 99)
		res := r.do(t, "POST", "/", strings.NewReader(in), func(req *http.Request) { req.Header.Set("Content-Type", kind) })
		if got := text(t, res); got != in {
			t.Errorf("%s: got %.200q, want %.200q", kind, got, in)
		}
	}
}

// Whatever part of a header a host lets its client choose, a value in it is not shown.
func TestResponseHeadersOfAllKinds(t *testing.T) {
	for _, name := range []string{"Content-Type", "Trailer", "Upgrade", "Set-Cookie", "Location", "X-" + strings.ToUpper(token)} {
		res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: &http.Request{Method: http.MethodGet}}
		res.Header.Set(name, "text/x-"+token)
		if err := keys(swap.BodiesOAuth).Response(res); err != nil {
			t.Fatal(err)
		}
		if dump := strings.ToLower(fmt.Sprint(res.Header)); strings.Contains(dump, strings.ToLower(token)) {
			t.Errorf("%s: %s", name, dump)
		}
	}
}

func TestResponseInHex(t *testing.T) {
	for _, format := range []string{"%x", "%X"} {
		r := newRelay(t, keys(swap.BodiesOAuth), func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, "<"+format+">", "a "+token)
		})
		got := text(t, r.do(t, "GET", "/", nil, nil))
		if want := fmt.Sprintf("<"+format+">", "a "+tokenCred.Stub+strings.Repeat("*", len(token)-len(tokenCred.Stub))); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
