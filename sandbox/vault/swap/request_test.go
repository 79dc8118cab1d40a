package swap_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/sandbox/vault/swap"
)

func basic(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }

func TestRequestHeader(t *testing.T) {
	tests := []struct{ name, header, in, want, report string }{
		{"bearer", "Authorization", "Bearer stub_token_11111111", "Bearer " + token, "TOKEN"},
		{"any header, twice", "X-Api-Key", "stub_token_11111111,stub_token_11111111", token + "," + token, "TOKEN"},
		{"two at once", "X-Key", "stub_token_11111111stub_pin_44444444", token + "1234", "TOKEN; PIN"},
		{"cookie", "Cookie", "a=b; session=stub_token_11111111", "a=b; session=" + token, "TOKEN"},
		{"nothing", "Authorization", "Bearer abc", "Bearer abc", ""},
		{"basic", "Authorization", basic("git:stub_token_11111111"), basic("git:" + token), "TOKEN"},
		{"basic with a line break", "Authorization", basic("git:stub_lines_33333333"), basic("git:first line\nsecond"), "LINES"},
		{"basic, unpadded", "X-Auth", "basic  " + strings.TrimRight(basic("u:stub_pin_44444444"), "=")[6:], "basic  " + strings.TrimRight(basic("u:1234"), "=")[6:], "PIN"},
		{"basic without stub", "Authorization", "Basic YTpi", "Basic YTpi", ""},
		{"basic, odd last bits", "Authorization", "Basic YTp=", "Basic YTp=", ""},
		{"basic of an encoded value", "Authorization", "Basic stub_token_11111111", "Basic " + token, "TOKEN"},
		{"basic of another", "Authorization", basic("x:stub_token_11111111_2"), basic("x:stub_token_11111111_2"), "-TOKEN_2: " + bindReason},
		{"line break", "X-Key", "stub_lines_33333333", "stub_lines_33333333", "-LINES: the value has a control character, which a header cannot carry"},
		{"another with this one's stub at its beginning", "X-Key", "stub_token_11111111_2 stub_token_11111111_2", "stub_token_11111111_2 stub_token_11111111_2", "-TOKEN_2: " + bindReason},
		{"proxy", "Proxy-Authorization", basic("x:stub_token_11111111"), "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRelay(t, keys(swap.BodiesOAuth), nil)
			r.do(t, "GET", "/", nil, func(req *http.Request) { req.Header.Set(tt.header, tt.in) })
			if got := r.seen.header.Get(tt.header); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if got := names(r.report()); got != tt.report {
				t.Errorf("report %q, want %q", got, tt.report)
			}
		})
	}
}

func TestRequestURL(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"path", "/botstub_token_11111111/send", "/bot" + token + "/send"},
		{"path, escaped", "/a%2Fb//stub_strange_22222222/%7e/~;x,y", "/a%2Fb//p&s%20%22w%2Frd+%C3%A9%25%3C=%27x/%7e/~;x,y"},
		{"query", "/?key=stub_token_11111111&x=%zz;1", "/?key=" + token + "&x=%zz;1"},
		{"query, escaped", "/p?a=+%20&k=stub_strange_22222222&b", "/p?a=+%20&k=p%26s%20%22w%2Frd%2B%C3%A9%25%3C%3D%27x&b"},
		{"line break", "/?k=stub_lines_33333333", "/?k=first%20line%0Asecond"},
		{"both", "/stub_pin_44444444?stub_pin_44444444", "/1234?1234"},
		{"another", "/stub_token_11111111_2", "/stub_token_11111111_2"},
		{"nothing", "/a%7eb//?", "/a%7eb//?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRelay(t, keys(swap.BodiesOAuth), nil)
			r.do(t, "GET", tt.in, nil, nil)
			if r.seen.uri != tt.want {
				t.Errorf("got %q, want %q", r.seen.uri, tt.want)
			}
		})
	}
}

func TestRequestUserinfo(t *testing.T) {
	u, err := url.Parse("http://stub_token_11111111:stub_strange_22222222@host/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys(swap.BodiesOAuth).Request(&http.Request{URL: u}); err != nil {
		t.Fatal(err)
	}
	if want := url.UserPassword(token, strange); *u.User != *want {
		t.Errorf("got %v, want %v", u.User, want)
	}
}

const (
	reasonJSON  = ": stubs are not replaced in bodies of this type (application/json): see LAP_SWAP_BODIES"
	reasonForm  = ": in forms, stubs are replaced only in the secret fields of OAuth: see LAP_SWAP_BODIES"
	reasonParts = ": stubs are not replaced in bodies of this type (multipart/form-data): see LAP_SWAP_BODIES"
)

func TestRequestBody(t *testing.T) {
	const formType, jsonType = "application/x-www-form-urlencoded", "application/json; charset=utf-8"
	inForm := url.QueryEscape(strange)
	tests := []struct {
		name           string
		bodies         swap.Bodies
		kind, in, want string
		report         string
	}{
		{"oauth form", swap.BodiesOAuth, formType, "a=b&client_secret=stub_strange_22222222", "a=b&client_secret=" + inForm, "STRANGE"},
		{"other field", swap.BodiesOAuth, formType, "text=stub_token_11111111", "text=stub_token_11111111", "-TOKEN" + reasonForm},
		{"another's stub", swap.BodiesOAuth, formType, "token=stub_token_11111111_2", "token=stub_token_11111111_2", "-TOKEN_2: " + bindReason},
		{"oauth, json", swap.BodiesOAuth, jsonType, `{"a":"stub_token_11111111"}`, `{"a":"stub_token_11111111"}`, "-TOKEN" + reasonJSON},
		{"text, json", swap.BodiesText, jsonType, `{"a":"stub_strange_22222222"}`, `{"a":"p&s \"w/rd+é%<='x"}`, "STRANGE"},
		{"text, ndjson", swap.BodiesText, "application/x-ndjson", `"stub_lines_33333333"`, `"first line\nsecond"`, "LINES"},
		{"text, form", swap.BodiesText, formType, "any=stub_strange_22222222", "any=" + inForm, "STRANGE"},
		{"text, plain", swap.BodiesText, "text/plain", "stub_lines_33333333", "first line\nsecond", "LINES"},
		{"text, xml", swap.BodiesText, "application/soap+xml", "<a>stub_token_11111111", "<a>" + token, "TOKEN"},
		{"text, parts", swap.BodiesText, "multipart/form-data; boundary=x", "--x stub_token_11111111", "--x stub_token_11111111", "-TOKEN" + reasonParts},
		{"binary", swap.BodiesText, "application/octet-stream", "stub_token_11111111", "stub_token_11111111", ""},
		{"no stub", swap.BodiesText, jsonType, "{}", "{}", ""},
		{"latin-1 stays", swap.BodiesText, "text/plain", "\xe9\xff stub_pin_44444444", "\xe9\xff 1234", "PIN"},
	}
	pad := strings.Repeat("&pad=0123456789", 6<<10)
	for _, tt := range tests {
		for _, form := range []string{"short", "chunked", "long", "expecting"} {
			t.Run(tt.name+", "+form, func(t *testing.T) {
				r := newRelay(t, keys(tt.bodies), nil)
				in, want := tt.in, tt.want
				if form == "long" {
					in, want = in+pad, want+pad
				}
				r.do(t, "POST", "/", strings.NewReader(in), func(req *http.Request) {
					req.Header.Set("Content-Type", tt.kind)
					switch form {
					case "chunked":
						req.ContentLength = -1
					case "expecting":
						req.Header.Set("Expect", "100-continue")
					}
				})
				if r.seen.body != want {
					t.Errorf("got %.200q, want %.200q", r.seen.body, want)
				}
				if form == "short" && r.seen.length != int64(len(want)) {
					t.Errorf("length %d, want %d", r.seen.length, len(want))
				}
				if got := names(r.report()); got != tt.report {
					t.Errorf("report %q, want %q", got, tt.report)
				}
			})
		}
	}
}

func TestRequestBodyThatBreaksOff(t *testing.T) {
	r := &http.Request{
		URL: &url.URL{}, Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body: io.NopCloser(strings.NewReader("short")), ContentLength: 10,
	}
	if _, err := keys(swap.BodiesOAuth).Request(r); err == nil {
		t.Error("no error of a body that ends before its length")
	}
}

func TestRequestCompressedBodyStays(t *testing.T) {
	r := newRelay(t, keys(swap.BodiesText), nil)
	r.do(t, "POST", "/", strings.NewReader("stub_token_11111111"), func(req *http.Request) {
		req.Header.Set("Content-Type", "text/plain")
		req.Header.Set("Content-Encoding", "zstd")
	})
	if r.seen.body != "stub_token_11111111" {
		t.Errorf("got %q", r.seen.body)
	}
}

func TestRequestCanBeSentAgain(t *testing.T) {
	r := &http.Request{
		URL: &url.URL{}, Header: http.Header{"Content-Type": {"text/plain"}},
		Body: io.NopCloser(strings.NewReader("stub_pin_44444444")), ContentLength: 17,
	}
	if _, err := keys(swap.BodiesText).Request(r); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		again, err := r.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(again); err != nil || string(got) != "1234" || r.ContentLength != 4 {
			t.Errorf("got %q, %v, length %d", got, err, r.ContentLength)
		}
	}
}

func TestRequestGrowth(t *testing.T) {
	big := swap.Credential{Name: "BIG", Stub: "stub_big_55555555", Value: strings.Repeat("v", 16<<10)}
	k := swap.New([]swap.Credential{big}, nil, nil, swap.BodiesText)
	stubs := strings.Repeat(big.Stub, 100)
	if _, err := k.Request(&http.Request{URL: &url.URL{Path: "/"}, Header: http.Header{"X": {stubs}}}); err == nil {
		t.Error("no error of headers that grow beyond all bounds")
	}
	r := &http.Request{
		URL: &url.URL{}, Header: http.Header{"Content-Type": {"text/plain"}},
		Body: io.NopCloser(strings.NewReader(stubs)), ContentLength: int64(len(stubs)),
	}
	if _, err := k.Request(r); err != nil || r.ContentLength != 100*16<<10 {
		t.Errorf("a body: %v, length %d", err, r.ContentLength)
	}
}

func TestRequestNegotiation(t *testing.T) {
	tests := []struct {
		name     string
		in, want http.Header
	}{
		{"none", http.Header{}, http.Header{"Accept-Encoding": {"identity"}}},
		{"gzip among others", http.Header{"Accept-Encoding": {"br, zstd;q=1, gzip;q=0.5"}}, http.Header{"Accept-Encoding": {"gzip"}}},
		{"two lines", http.Header{"Accept-Encoding": {"br", "x-gzip"}}, http.Header{"Accept-Encoding": {"gzip"}}},
		{"any", http.Header{"Accept-Encoding": {"*"}}, http.Header{"Accept-Encoding": {"gzip"}}},
		{"any but gzip", http.Header{"Accept-Encoding": {"*, gzip;q=0"}}, http.Header{"Accept-Encoding": {"identity"}}},
		{"only others", http.Header{"Accept-Encoding": {"br, deflate"}}, http.Header{"Accept-Encoding": {"identity"}}},
		{
			"range",
			http.Header{"Accept-Encoding": {"gzip"}, "Range": {"bytes=0-9"}, "If-Range": {"x"}},
			http.Header{"Accept-Encoding": {"gzip"}},
		},
		{
			"transfer and extensions",
			http.Header{"Te": {"gzip", "Trailers"}, "Sec-Websocket-Extensions": {"permessage-deflate"}},
			http.Header{"Accept-Encoding": {"identity"}, "Te": {"trailers"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := keys(swap.BodiesOAuth).Request(&http.Request{URL: &url.URL{}, Header: tt.in}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tt.in); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNothingBound(t *testing.T) {
	k := swap.New(nil, []swap.Credential{otherCred}, []swap.Declined{{Name: "TOKEN_2", Reason: bindReason}, {Name: "GONE"}}, swap.BodiesText)
	r := newRelay(t, k, nil)
	body := strings.Repeat("x", 100<<10) + otherCred.Stub
	r.do(t, "POST", "/", strings.NewReader(body), func(req *http.Request) {
		req.Header.Set("Content-Type", "text/plain")
		req.Header.Set("Accept-Encoding", "br")
	})
	if r.seen.body != body || r.seen.length != int64(len(body)) || r.seen.header.Get("Accept-Encoding") != "br" {
		t.Error("the request is not as it was")
	}
	if got, want := names(r.report()), "-TOKEN_2: "+bindReason; got != want {
		t.Errorf("report %q, want %q", got, want)
	}
	res := &http.Response{Header: http.Header{"Content-Encoding": {"br"}}, Body: http.NoBody}
	if err := k.Response(res); err != nil {
		t.Error(err)
	}
}
