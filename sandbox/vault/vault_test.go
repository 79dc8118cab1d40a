package vault_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"lap/sandbox"
)

func TestCredentialIsSwappedOnTheWay(t *testing.T) {
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, scheme := range []string{"https", "http"} {
		t.Run(scheme, func(t *testing.T) {
			w := newWorld(t)
			a := w.do(w.client(), "POST", scheme+"://api.github.com/user/"+stubToken+"?key="+stubToken, `{"t":"`+stubToken+`"}`,
				"Authorization", "token "+stubToken, "X-Basic", basic("u:"+stubToken), "X-Other", stubOther, "Content-Type", "application/json")
			a.want(t, 200, "ok")
			got, body := w.only()
			if got.Header.Get("Authorization") != "token "+realToken || got.Header.Get("X-Basic") != basic("u:"+realToken) {
				t.Errorf("the host got %v", got.Header)
			}
			if got.RequestURI != "/user/"+realToken+"?key="+realToken || got.Host != "api.github.com" {
				t.Errorf("the host got %s at %s", got.RequestURI, got.Host)
			}
			if got.Header.Get("X-Other") != stubOther || body != `{"t":"`+stubToken+`"}` {
				t.Errorf("other places were changed: %v, %s", got.Header, body)
			}
			eventually(t, "seen", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.asked) == 1 })
			r := w.asked[0]
			if r.Method != http.MethodPost || r.Host != "api.github.com" || r.Path != "/user/"+stubToken || r.Status != 200 || len(r.Swapped) != 1 || r.Swapped[0].Name != "GITHUB_TOKEN" {
				t.Errorf("seen = %+v", r)
			}
			if len(r.Declined) == 0 || r.Declined[0].Name != "OTHER_KEY" && r.Declined[len(r.Declined)-1].Name != "OTHER_KEY" {
				t.Errorf("declined = %+v", r.Declined)
			}
		})
	}
}

// What is of no use to the vault passes untouched: the host's own certificate, HTTP/2.
func TestOtherTLSIsNotOpened(t *testing.T) {
	w := newWorld(t)
	a := w.do(w.client(), "GET", "https://other.example/x", "", "X-Key", stubToken)
	a.want(t, 200)
	got, _ := w.only()
	if got.Header.Get("X-Key") != stubToken || got.ProtoMajor != 2 {
		t.Errorf("the host got %v over %s", got.Header, got.Proto)
	}
	eventually(t, "seen", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.asked) == 1 })
	if r := w.asked[0]; r.Method != http.MethodConnect || r.Path != "/" || r.Blocked || !strings.Contains(r.Note, "unopened") {
		t.Errorf("seen = %+v", r)
	}
}

func TestAnswerIsScrubbed(t *testing.T) {
	w := newWorld(t)
	w.set(func(w *world) {
		w.answer = func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("X-Echo", r.Header.Get("Authorization"))
			rw.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(rw, `{"you sent":"`+r.Header.Get("Authorization")+`"}`)
		}
	})
	a := w.do(w.client(), "GET", "https://api.github.com/", "", "Authorization", "Bearer "+stubToken)
	if want := `{"you sent":"Bearer ` + stubToken + `"}`; a.body != want || a.header.Get("X-Echo") != "Bearer "+stubToken {
		t.Errorf("answer = %s, %v", a.body, a.header)
	}
}

func TestRefusalExplainsItself(t *testing.T) {
	w := newWorld(t)
	w.set(func(w *world) { w.policy.Rules.Deny = entries(t, "other.example") })
	_, a := w.open("other.example", 443, sandbox.ViaProxy)
	if !a.Refused || !strings.Contains(a.Error, "other.example") || !strings.Contains(a.Error, "deny_out") {
		t.Errorf("answer = %+v", a)
	}
	w.nothing()
	// A program that knows no proxy is told over its own protocol.
	conn, a := w.open("other.example", 443, sandbox.ViaCapture)
	if a.Error != "" {
		t.Fatalf("answer = %+v", a)
	}
	status, text := getTLS(t, w, conn, "other.example")
	if status != 403 || !strings.Contains(text, "deny_out") {
		t.Errorf("%d %s", status, text)
	}
	conn, _ = w.open("other.example", 80, sandbox.ViaCapture)
	status, text = get(t, conn, "other.example")
	if status != 403 || !strings.Contains(text, "deny_out") {
		t.Errorf("%d %s", status, text)
	}
	w.nothing()
	eventually(t, "three refusals", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.seen) == 3 && len(w.asked) == 3 && w.seen[0].Refused && w.asked[0].Blocked
	})
}

func TestNothingLeavesWithoutRules(t *testing.T) {
	w := newWorld(t)
	w.set(func(w *world) { w.failing = errors.New("the database is away") })
	_, a := w.open("api.github.com", 443, sandbox.ViaProxy)
	if a.Error == "" || a.Refused {
		t.Errorf("answer = %+v", a)
	}
	w.nothing()
}

func TestConnectionsEndWhenTheRulesChange(t *testing.T) {
	for _, host := range []string{"api.github.com", "other.example"} {
		w := newWorld(t)
		conn, a := w.open(host, 443, sandbox.ViaSOCKS)
		if a.Error != "" {
			t.Fatal(a)
		}
		if status, _ := getTLS(t, w, conn, host); status != 200 {
			t.Fatalf("status = %d", status)
		}
		w.vault.Changed(t.Context(), "s1") // nothing has
		w.set(func(w *world) { w.policy.Rules.Allow = entries(t, "third.example") })
		w.vault.Changed(t.Context(), "s2")
		w.vault.Changed(t.Context(), "s1")
		if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("read = %v", err)
		}
	}
}
