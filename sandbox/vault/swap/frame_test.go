package swap_test

import (
	"net/http"
	"strings"
	"testing"

	"lap/sandbox/vault/swap"
)

// Framing headers keep what they would say of their own, and nothing else of a credential.
func TestFramingHeaders(t *testing.T) {
	list := []swap.Credential{
		{Name: "KEY", Stub: "stub_key_01234567", Value: "a-real-value-0042"},
		{Name: "NUMBER", Stub: "stub_number_01234567", Value: "1234567890"},
		{Name: "ACCEPT", Stub: "stub_accept_01234567", Value: "application/json"},
	}
	keys := swap.New(list, list, nil, swap.BodiesOAuth)
	for name, values := range map[string][2]string{
		"Content-Type":      {"text/a-real-value-0042; charset=utf-8", "text/stub_key_01234567; charset=utf-8"},
		"Content-Range":     {"bytes 0-9/1234567890", "bytes 0-9/1234567890"},
		"Content-Encoding":  {"a-real-value-0042", "stub_key_01234567"},
		"Upgrade":           {"a-real-value-0042", "stub_key_01234567"},
		"Trailer":           {"A, a-real-value-0042", "A, stub_key_01234567"},
		"Content-Length":    {"1234567890", "1234567890"},
		"Transfer-Encoding": {"a-real-value-0042", "stub_key_01234567"},
		"Connection":        {"close, a-real-value-0042", "close, stub_key_01234567"},
	} {
		res := &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{name: {values[0]}}, Body: http.NoBody}
		if err := keys.Response(res); err != nil {
			t.Fatal(err)
		}
		if got := res.Header.Get(name); got != values[1] {
			t.Errorf("%s: %s is %q, want %q", name, values[0], got, values[1])
		}
	}
	res := &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody}
	if err := keys.Response(res); err != nil || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a media type is %q, %v", res.Header.Get("Content-Type"), err)
	}
}

func TestScrub(t *testing.T) {
	list := []swap.Credential{{Name: "KEY", Stub: "stub_key_01234567", Value: `a-"real"-value-0042`}}
	got := swap.New(list, list, nil, swap.BodiesOAuth).Scrub(`malformed: "a-\"real\"-value-0042" and a-"real"-value-0042`)
	if strings.Contains(got, "value") || strings.Count(got, "stub_key_01234567") != 2 {
		t.Errorf("got %s", got)
	}
	if got := swap.New(nil, nil, nil, swap.BodiesOAuth).Scrub("as it is"); got != "as it is" {
		t.Errorf("got %s", got)
	}
}
