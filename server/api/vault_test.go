package api_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"lap/db"
)

// use stores what a sandbox did that was told to fetch something, and what its model used.
func (w *world) use(t *testing.T, id string) {
	t.Helper()
	at := time.Date(2026, 1, 15, 10, 8, 0, 0, time.UTC)
	usage := db.Usage{Calls: 2, InputTokens: 2400, OutputTokens: 310, CacheReadTokens: 1100, Cost: 0.01185}
	err := errors.Join(
		w.store.AddUsage(t.Context(), id, usage),
		w.store.AppendEgress(t.Context(), []db.Egress{
			{
				SessionID: id, At: at, Host: "api.github.com", Port: 443, Address: "140.82.121.6:443", Via: "proxy",
				Rule: "allow_out api.github.com", Opened: true, Sent: 1180, Received: 20417, Duration: 1312 * time.Millisecond,
			},
			{
				SessionID: id, At: at.Add(2 * time.Second), Host: "example.org", Port: 443, Via: "capture", Rule: "allow_out",
				Reason: "example.org is not in the agent's allow_out", Refused: true,
			},
		}),
		w.store.AppendInterceptions(t.Context(), []db.Interception{
			{
				SessionID: id, At: at, Method: "GET", Host: "api.github.com", Path: "/user", Status: 200,
				Swapped: []db.SwappedCredential{{Stub: "stub_github_token_db956f5c", Name: "GITHUB_TOKEN", Tail: "99"}},
			},
			{
				SessionID: id, At: at.Add(time.Second), Method: "POST", Host: "api.github.com", Path: "/gists", Status: 201,
				Declined: []db.DeclinedCredential{{Name: "NPM_TOKEN", Reason: "it is bound to packages.example.com"}},
			},
			{
				SessionID: id, At: at.Add(2 * time.Second), Method: "CONNECT", Host: "example.org", Path: "/", Blocked: true,
				Note: "example.org is not in the agent's allow_out",
			},
		}))
	if err != nil {
		t.Fatal(err)
	}
	w.engine.set(func() { w.engine.vaultKeys = []string{"GITHUB_TOKEN", "NPM_TOKEN"} })
}

func TestWatchedListsArePaged(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	empty := `{"data":[],"total":0,"limit":50,"offset":0`
	for path, want := range map[string]string{"egress": empty + `,"dropped":0}`, "interceptions": empty + `,"dropped":0}`, "vault-keys": empty + "}"} {
		if got := w.do(t, "GET", sessions+"/"+id+"/"+path, nil).want(t, 200).body; got != want {
			t.Errorf("%s of who did nothing = %s", path, got)
		}
	}
	w.use(t, id)
	for path, want := range map[string]string{
		"/egress?limit=1&offset=1":        `1 2 1 1 example.org`,
		"/egress?offset=2":                `0 2 50 2 `,
		"/interceptions?limit=1&offset=2": `1 3 1 2 example.org`,
		"/interceptions?limit=999":        `3 3 200 0 api.github.com`,
		"/vault-keys?limit=1":             `1 2 1 0 `,
	} {
		r := w.do(t, "GET", sessions+"/"+id+path, nil).want(t, 200)
		got := fmt.Sprint(r.get("data.#"), " ", r.get("total"), " ", r.get("limit"), " ", r.get("offset"), " ", r.get("data.0.host"))
		if got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
}

func TestEgressSaysWhatWasDropped(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	list := make([]db.Egress, db.KeptEgress+7)
	for i := range list {
		list[i] = db.Egress{SessionID: id, Host: "x.com", Port: i}
	}
	if err := w.store.AppendEgress(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"", "?offset=5000"} {
		r := w.do(t, "GET", sessions+"/"+id+"/egress"+query, nil).want(t, 200)
		if r.get("dropped").Int() != 7 || r.get("total").Int() != db.KeptEgress || query == "" && r.get("data.0.port").Int() != 7 {
			t.Errorf("%s: %.200s … %s", query, r.body, r.get("dropped"))
		}
	}
}

func TestInterceptionsSayWhatWasDropped(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	list := []db.Interception{{SessionID: id, Path: "/swapped", Swapped: []db.SwappedCredential{{Name: "A"}}}}
	for range db.KeptInterceptions + 6 {
		list = append(list, db.Interception{SessionID: id, Path: "/"})
	}
	if err := w.store.AppendInterceptions(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	r := w.do(t, "GET", sessions+"/"+id+"/interceptions?limit=1", nil).want(t, 200)
	if r.get("dropped").Int() != 7 || r.get("total").Int() != db.KeptInterceptions || r.get("data.0.path").String() != "/swapped" {
		t.Errorf("%s", r.body)
	}
}

// TestWatchedIsStoredBeforeItIsRead lets the engine have something that is not stored yet.
func TestWatchedIsStoredBeforeItIsRead(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	w.engine.set(func() {
		w.engine.flush = func() error { return w.store.AppendEgress(t.Context(), []db.Egress{{SessionID: id, Host: "x.com"}}) }
	})
	if total := w.do(t, "GET", sessions+"/"+id+"/egress", nil).want(t, 200).get("total").Int(); total != 1 {
		t.Errorf("%d connections, want 1", total)
	}
	w.engine.set(func() {
		w.engine.flush = func() error { return w.store.AppendInterceptions(t.Context(), []db.Interception{{SessionID: id}}) }
	})
	if total := w.do(t, "GET", sessions+"/"+id+"/interceptions", nil).want(t, 200).get("total").Int(); total != 1 {
		t.Errorf("%d interceptions, want 1", total)
	}
	w.engine.set(func() { w.engine.flush, w.engine.fail = func() error { return errors.New("x") }, errors.New("x") })
	for _, path := range []string{"egress", "interceptions", "vault-keys"} {
		w.do(t, "GET", sessions+"/"+id+"/"+path, nil).wantError(t, 500, "internal error")
	}
}
