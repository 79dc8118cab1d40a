package budget_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/db"
	"lap/server/budget"
	"lap/server/gateway"
)

// world is a store with a meter.
type world struct {
	store *db.Store
	meter *budget.Meter
	now   atomic.Int64 // Unix seconds
}

// newWorld makes a world whose models cost what prices say.
func newWorld(t *testing.T, prices string) *world {
	t.Helper()
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := db.NewSealer(make([]byte, db.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{}
	w.now.Store(1_800_000_000)
	w.store, err = db.Open(t.Context(), db.Config{
		Path: filepath.Join(t.TempDir(), "lap.db"), Schema: string(schema), Sealer: sealer,
		Now: func() time.Time { return time.Unix(w.now.Load(), 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	table, err := gateway.ParsePrices(prices)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	p, err := gateway.NewPrices(gateway.Config{Log: log}, table)
	if err != nil {
		t.Fatal(err)
	}
	w.meter = budget.New(budget.Config{Store: w.store, Prices: p, Log: log})
	return w
}

func (w *world) agent(t *testing.T, b *db.Budget) db.Agent {
	t.Helper()
	a, err := w.store.CreateAgent(t.Context(), db.Agent{HarnessID: "lap", Model: "m", CreatedBy: "x", Budget: b})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// session makes a session that is ready.
func (w *world) session(t *testing.T, a db.Agent, b *db.Budget) string {
	t.Helper()
	made, err := w.store.CreateSession(t.Context(), db.NewSession{AgentID: a.ID, Budget: b})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.MarkReady(t.Context(), made.Session.ID, made.Session.Generation, db.Readiness{HarnessSessionID: "h", GuestID: "g"}); err != nil {
		t.Fatal(err)
	}
	return made.Session.ID
}

// use lets a call be made and counted.
func (w *world) use(t *testing.T, session, model string, u gateway.Usage) {
	t.Helper()
	if err := w.meter.Admit(t.Context(), session, model); err != nil {
		t.Fatal(err)
	}
	w.meter.Count(t.Context(), session, model, u)
}

// wantRefused fails unless a call is refused with a text.
func (w *world) wantRefused(t *testing.T, session, model, text string) {
	t.Helper()
	err := w.meter.Admit(t.Context(), session, model)
	if no, ok := errors.AsType[*gateway.RefusalError](err); !ok || no.Message != text {
		t.Errorf("refusal = %v, want %s", err, text)
	}
}

func (w *world) reason(t *testing.T, session string) string {
	t.Helper()
	s, err := w.store.SessionState(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	if s.FailureReason == nil {
		return ""
	}
	return *s.FailureReason
}

func TestCount(t *testing.T) {
	w := newWorld(t, "m=1/2/0.5/4")
	id := w.session(t, w.agent(t, nil), nil)
	w.use(t, id, "m", gateway.Usage{Calls: 1, InputTokens: 1_000_000, OutputTokens: 500_000, CacheReadTokens: 200_000, CacheWriteTokens: 100_000})
	w.use(t, id, "m", gateway.Usage{Calls: 1, InputTokens: 10, Cost: 0.25}) // as the gateway told it
	w.use(t, id, "n", gateway.Usage{Calls: 1, InputTokens: 10, OutputTokens: 5, Estimated: true})
	w.use(t, id, "scripted/echo", gateway.Usage{Calls: 1, InputTokens: 10, OutputTokens: 5})
	w.use(t, id, "m", gateway.Usage{}) // failed
	got, err := w.store.SessionSpent(t.Context(), id)
	want := db.Usage{
		Calls: 4, InputTokens: 1_000_030, OutputTokens: 500_010, CacheReadTokens: 200_000, CacheWriteTokens: 100_000,
		Cost: 0.7 + 1 + 0.1 + 0.4 + 0.25, UnpricedCalls: 1, EstimatedCalls: 1,
	}
	near := cmp.Comparer(func(a, b float64) bool { return max(a-b, b-a) < 1e-9 })
	if diff := cmp.Diff(want, got.Usage, near); err != nil || diff != "" {
		t.Errorf("error %v, spent (-want +got):\n%s", err, diff)
	}
}

func TestTokenBudget(t *testing.T) {
	w := newWorld(t, "")
	id := w.session(t, w.agent(t, nil), &db.Budget{Tokens: new(int64(50_000))})
	w.use(t, id, "m", gateway.Usage{Calls: 1, InputTokens: 40_000, OutputTokens: 9_999})
	w.use(t, id, "m", gateway.Usage{Calls: 1, InputTokens: 300, OutputTokens: 13})
	const text = "this session's budget of 50000 tokens is spent (50312 used): create a session with a larger budget.tokens"
	w.wantRefused(t, id, "m", text)
	if got, want := w.reason(t, id), "budget spent: this session's budget of 50000 tokens (50312 used)"; got != want {
		t.Errorf("reason = %q, want %q", got, want)
	}
	if err := w.store.NoteFailure(t.Context(), id, w.reason(t, id)+" and noted"); err != nil {
		t.Fatal(err)
	}
	w.wantRefused(t, id, "m", text)
	if got := w.reason(t, id); !strings.HasSuffix(got, " and noted") {
		t.Errorf("it was noted again: %q", got)
	}
}

func TestBudgetOfNothing(t *testing.T) {
	w := newWorld(t, "m=0/0")
	agent := w.agent(t, nil)
	w.wantRefused(t, w.session(t, agent, &db.Budget{Tokens: new(int64(0))}), "m",
		"this session's budget of 0 tokens is spent (0 used): create a session with a larger budget.tokens")
}

func TestBudgetOfTurns(t *testing.T) {
	w := newWorld(t, "m=0/0")
	id := w.session(t, w.agent(t, nil), &db.Budget{Turns: new(int64(2))})
	for range 2 {
		end := w.turn(t, id)
		w.use(t, id, "m", gateway.Usage{Calls: 1, InputTokens: 1}) // the last one may call as often as it likes
		w.use(t, id, "m", gateway.Usage{Calls: 1, InputTokens: 1})
		end()
	}
	w.turn(t, id)
	w.wantRefused(t, id, "m", "this session's budget of 2 turns is spent (2 used): create a session with a larger budget.turns")
}

// turn sends a turn of a session, and returns what ends it.
func (w *world) turn(t *testing.T, id string) func() {
	t.Helper()
	turn, _, err := w.store.AddTurn(t.Context(), id, db.NewTurn{Parts: []byte("[]"), Deadline: time.Unix(w.now.Load()+1_000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.SendTurn(t.Context(), id, 1, turn.Seq); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := w.store.EndTurn(t.Context(), id, turn.Seq, db.TurnFailed, "the test has ended it"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAgentBudget(t *testing.T) {
	w := newWorld(t, "m=1000/1000")
	agent := w.agent(t, &db.Budget{Cost: new(2.5)})
	first, second := w.session(t, agent, &db.Budget{Tokens: new(int64(1_000_000))}), w.session(t, agent, nil)
	w.use(t, first, "m", gateway.Usage{Calls: 1, InputTokens: 1_000})
	w.use(t, second, "m", gateway.Usage{Calls: 1, InputTokens: 1_000})
	w.use(t, first, "m", gateway.Usage{Calls: 1, InputTokens: 610})
	const text = "the budget of $2.50 that all sessions of this agent share is spent ($2.61 used): raise budget.cost_usd of the agent"
	w.wantRefused(t, first, "m", text)
	w.wantRefused(t, second, "m", text)
	if got := w.reason(t, second); got != "budget spent: the budget of $2.50 that all sessions of this agent share ($2.61 used)" {
		t.Errorf("reason = %q", got)
	}
	_, err := w.store.UpdateAgent(t.Context(), agent.ID, func(a *db.Agent) error { a.Budget = &db.Budget{Cost: new(3.0)}; return nil })
	if err != nil {
		t.Fatal(err)
	}
	w.use(t, second, "m", gateway.Usage{Calls: 1, InputTokens: 1})
	w.use(t, w.session(t, w.agent(t, nil), nil), "m", gateway.Usage{Calls: 1, InputTokens: 9_000})
}

// A budget in dollars holds only for what has a price.
func TestUnknownPrice(t *testing.T) {
	w := newWorld(t, "m=1/1")
	agent := w.agent(t, nil)
	id := w.session(t, agent, &db.Budget{Cost: new(0.5)})
	w.wantRefused(t, id, "n", "this session's budget of $0.5 is one in dollars, but the price of model n is not known: set LAP_MODEL_PRICES")
	w.use(t, id, "m", gateway.Usage{Calls: 1, InputTokens: 1})
	w.use(t, id, "scripted/echo", gateway.Usage{Calls: 1, InputTokens: 1})
	w.use(t, w.session(t, agent, &db.Budget{Tokens: new(int64(5))}), "n", gateway.Usage{Calls: 1, InputTokens: 1})
}

func TestWallBudget(t *testing.T) {
	w := newWorld(t, "")
	id := w.session(t, w.agent(t, nil), &db.Budget{WallSeconds: new(int64(90))})
	w.turn(t, id)
	w.now.Add(89)
	w.use(t, id, "m", gateway.Usage{Calls: 1, InputTokens: 1})
	w.now.Add(12)
	w.wantRefused(t, id, "m", "this session's budget of 1m30s of work is spent (1m41s used): create a session with a larger budget.wall_seconds")
}

func TestNoSession(t *testing.T) {
	w := newWorld(t, "")
	for _, id := range []string{"", "00000000-0000-4000-8000-000000000000"} {
		w.wantRefused(t, id, "m", "this sandbox has no session, so nobody would pay for calls of models")
	}
	id := w.session(t, w.agent(t, nil), nil)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	err := w.meter.Admit(t.Context(), id, "m")
	if _, ok := errors.AsType[*gateway.RefusalError](err); ok || err == nil {
		t.Errorf("error = %v, want that of the store", err)
	}
}

// admitted starts a call and returns what comes of it.
func (w *world) admitted(ctx context.Context, session string) <-chan error {
	out := make(chan error, 1)
	go func() { out <- w.meter.Admit(ctx, session, "m") }()
	return out
}

// wantWaiting fails when a call has been answered.
func wantWaiting(t *testing.T, call <-chan error) {
	t.Helper()
	select {
	case err := <-call:
		t.Fatalf("the call did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

// However many calls come at once, a budget is not passed by more than some of them.
func TestOvershootIsBounded(t *testing.T) {
	w := newWorld(t, "")
	agent := w.agent(t, nil)
	id := w.session(t, agent, &db.Budget{Tokens: new(int64(1_000))})
	var (
		wg       sync.WaitGroup
		admitted atomic.Int64
	)
	for range 60 {
		wg.Go(func() {
			if w.meter.Admit(t.Context(), id, "m") == nil {
				admitted.Add(1)
				w.meter.Count(t.Context(), id, "m", gateway.Usage{Calls: 1, InputTokens: 500})
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n < 2 || n > 9 {
		t.Errorf("%d calls of half a budget were admitted", n)
	}
	free := w.session(t, agent, nil)
	for range 50 { // without a budget there is nothing to wait for
		if err := w.meter.Admit(t.Context(), free, "m"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNearlySpentGoesOneByOne(t *testing.T) {
	w := newWorld(t, "")
	id := w.session(t, w.agent(t, nil), &db.Budget{Tokens: new(int64(1_000))})
	w.use(t, id, "m", gateway.Usage{Calls: 1, InputTokens: 900})
	if err := w.meter.Admit(t.Context(), id, "m"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left, second := w.admitted(ctx, id), w.admitted(t.Context(), id)
	wantWaiting(t, left)
	wantWaiting(t, second)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	w.meter.Count(t.Context(), id, "m", gateway.Usage{Calls: 1, InputTokens: 50})
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	third := w.admitted(t.Context(), id)
	wantWaiting(t, third)
	w.meter.Count(t.Context(), id, "m", gateway.Usage{Calls: 1, InputTokens: 60})
	if _, ok := errors.AsType[*gateway.RefusalError](<-third); !ok {
		t.Error("a call was admitted after the budget was spent")
	}
}

// The gateway and the meter together: what a stream tells is what its sandbox has spent.
func TestGatewayCounts(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/model/info" {
			_, _ = io.WriteString(w, `{"data":[{"model_name":"m","model_info":{"input_cost_per_token":0.001,"output_cost_per_token":0.01}}]}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, `data: {"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":10}}`+"\n\ndata: [DONE]\n\n")
	}))
	defer up.Close()
	w := newWorld(t, "")
	cfg := gateway.Config{BaseURL: up.URL, Log: slog.New(slog.DiscardHandler)}
	prices, err := gateway.NewPrices(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := w.session(t, w.agent(t, nil), &db.Budget{Cost: new(0.3)})
	cfg.Meter = as{budget.New(budget.Config{Store: w.store, Prices: prices, Log: cfg.Log}), id}
	g, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	post := func(model string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		body := strings.NewReader(`{"model":"` + model + `","stream":true,"messages":[]}`)
		g.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", body))
		return rec
	}
	for range 2 {
		if rec := post("m"); rec.Code != http.StatusOK || rec.Body.String() != "data: [DONE]\n\n" {
			t.Errorf("answer = %d %s", rec.Code, rec.Body)
		}
	}
	if rec := post("m"); rec.Code != http.StatusPaymentRequired || !strings.Contains(rec.Body.String(), "budget of $0.3 is spent ($0.4 used)") {
		t.Errorf("answer = %d %s", rec.Code, rec.Body)
	}
	if spent, err := w.store.SessionSpent(t.Context(), id); err != nil || spent.Cost != 0.4 || spent.Calls != 2 {
		t.Errorf("spent = %+v, %v", spent, err)
	}
}

// as is a meter of one session, for requests that come up no pipe.
type as struct {
	*budget.Meter
	session string
}

func (a as) Admit(ctx context.Context, _, model string) error {
	return a.Meter.Admit(ctx, a.session, model)
}

func (a as) Count(ctx context.Context, _, model string, u gateway.Usage) {
	a.Meter.Count(ctx, a.session, model, u)
}
