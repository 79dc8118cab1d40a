package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/clock"
	"lap/server/gateway"
)

func perMillion(in, out, read, write float64) gateway.Price {
	return gateway.Price{Input: in / 1e6, Output: out / 1e6, CacheRead: read / 1e6, CacheWrite: write / 1e6}
}

func TestParsePrices(t *testing.T) {
	got, err := gateway.ParsePrices(" gpt-5=1.25/10, claude-*=3/15/0.3/3.75,ollama/llama:8b=0/0 , a=b=1/2/.5,*=9/9,")
	want := gateway.PriceTable{
		"gpt-5": perMillion(1.25, 10, 1.25, 1.25), "claude-*": perMillion(3, 15, 0.3, 3.75),
		"ollama/llama:8b": {}, "a=b": perMillion(1, 2, 0.5, 1), "*": perMillion(9, 9, 9, 9),
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, prices (-want +got):\n%s", err, diff)
	}
}

// newPrices makes prices of an upstream, or of none for "".
func newPrices(tb testing.TB, base, table string) (*gateway.Prices, *lines) {
	tb.Helper()
	log := &lines{}
	parsed, err := gateway.ParsePrices(table)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := gateway.NewPrices(gateway.Config{BaseURL: base, APIKey: realKey, Log: slog.New(slog.NewTextHandler(log, nil))}, parsed)
	if err != nil {
		tb.Fatal(err)
	}
	return p, log
}

// modelInfo is what LiteLLM says of its models.
const modelInfo = `{"data":[
	{"model_name":"gpt-x","litellm_params":{"model":"openai/gpt-x"},"model_info":{"id":"1","db_model":false,"key":"gpt-x","max_tokens":16384,"input_cost_per_token":2.5e-06,"cache_creation_input_token_cost":null,"cache_read_input_token_cost":1.25e-06,"output_cost_per_token":1e-05,"input_cost_per_token_batches":1.25e-06,"mode":"chat"}},
	{"model_name":"gpt-x","litellm_params":{"model":"azure/gpt-x"},"model_info":{"input_cost_per_token":2e-06,"output_cost_per_token":1.1e-05}},
	{"model_name":"embed","model_info":{"input_cost_per_token":2e-08,"output_cost_per_token":0.0}},
	{"model_name":"unknown","model_info":{"input_cost_per_token":0,"output_cost_per_token":0}},
	{"model_name":"null","model_info":{"input_cost_per_token":null,"output_cost_per_token":null}},
	{"model_name":"claude-x","model_info":{"input_cost_per_token":3e-06,"output_cost_per_token":1.5e-05,"cache_creation_input_token_cost":3.75e-06,"cache_read_input_token_cost":3e-07}}
]}`

func TestPrices(t *testing.T) {
	up := answering(t, "application/json", modelInfo)
	p, _ := newPrices(t, up.URL+"/v1", "gpt-x=9/9,gpt-*=8/8,gpt-longer*=7/7,unknown=6/6,scripted/paid=5/5")
	tests := []struct {
		model string
		want  gateway.Price
		known bool
	}{
		{"gpt-x", perMillion(2.5, 11, 2, 2.5), true}, // the gateway's own; the dearest of two
		{"claude-x", perMillion(3, 15, 0.3, 3.75), true},
		{"embed", perMillion(0.02, 0, 0.02, 0.02), true},
		{"gpt-y", perMillion(8, 8, 8, 8), true},
		{"gpt-longer-still", perMillion(7, 7, 7, 7), true},
		{"unknown", perMillion(6, 6, 6, 6), true},
		{"null", gateway.Price{}, false},
		{"", gateway.Price{}, false},
		{"scripted/echo", gateway.Price{}, true},
		{"scripted/paid", perMillion(5, 5, 5, 5), true},
		{"replay/tape/free", gateway.Price{}, true},
		{"replay/tape/unknown", perMillion(6, 6, 6, 6), true},
	}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-15 })
	for _, tt := range tests {
		got, known := p.Of(t.Context(), tt.model)
		if diff := cmp.Diff(tt.want, got, near); diff != "" || known != tt.known {
			t.Errorf("%q: known %v, price (-want +got):\n%s", tt.model, known, diff)
		}
	}
	if got := up.only(t); got.method != "GET" || got.uri != "/v1/model/info" || got.header.Get("Authorization") != "Bearer "+realKey {
		t.Errorf("the upstream got %v", got)
	}
}

func TestCost(t *testing.T) {
	u := gateway.Usage{InputTokens: 1_000_000, OutputTokens: 100_000, CacheReadTokens: 600_000, CacheWriteTokens: 200_000}
	if got, want := perMillion(3, 15, 0.3, 3.75).Cost(u), 0.6+1.5+0.18+0.75; math.Abs(got-want) > 1e-9 {
		t.Errorf("cost = %v, want %v", got, want)
	}
}

// What is no answer of LiteLLM's has no prices, and does no harm.
func TestNoPrices(t *testing.T) {
	large := `{"data":[` + strings.Repeat(" ", 9<<20) + "]}"
	tests := []struct {
		name   string
		answer http.HandlerFunc
		warns  bool
	}{
		{"not found", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, false},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, false},
		{"other JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"data":{"gpt-x":1}}`) }, false},
		{"negative", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"data":[{"model_name":"gpt-x","model_info":{"input_cost_per_token":-1,"output_cost_per_token":1e9}}]}`)
		}, false},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, false},
		{"down", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, true},
		{"too much", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, large) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up := newUpstream(t, tt.answer)
			p, log := newPrices(t, up.URL, "other=1/1")
			for range 3 {
				if got, ok := p.Of(t.Context(), "gpt-x"); ok {
					t.Errorf("price = %v", got)
				}
			}
			if _, ok := p.Of(t.Context(), "other"); !ok {
				t.Error("the configured price is not used")
			}
			up.only(t)
			if got := strings.Contains(log.String(), "level=WARN"); got != tt.warns || strings.Contains(log.String(), realKey) {
				t.Errorf("log = %s", log)
			}
		})
	}
	p, _ := newPrices(t, "", "")
	if got, ok := p.Of(t.Context(), "gpt-x"); ok {
		t.Errorf("price = %v without a model gateway", got)
	}
}

// Prices are asked for once for all, and again after a while.
func TestPricesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			mu     sync.Mutex
			asked  int
			status = http.StatusOK
		)
		p, _ := newPrices(t, "http://litellm.test", "")
		p.Fake(func(*http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewBufferString(fmt.Sprintf(
				`{"data":[{"model_name":"m","model_info":{"input_cost_per_token":%de-06}}]}`, asked)))}, nil
		})
		want := func(times int, price float64) {
			t.Helper()
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if got, _ := p.Of(t.Context(), "m"); math.Abs(got.Input*1e6-price) > 1e-9 {
						t.Errorf("price = %v, want %v", got.Input*1e6, price)
					}
				})
			}
			wg.Wait()
			if asked != times {
				t.Errorf("asked %d times, want %d", asked, times)
			}
		}
		want(1, 1)
		time.Sleep(9 * time.Minute)
		want(1, 1)
		time.Sleep(2 * time.Minute)
		want(2, 2)
		status = http.StatusInternalServerError
		time.Sleep(11 * time.Minute)
		want(3, 2) // those that were there stay
		time.Sleep(50 * time.Second)
		want(3, 2)
		status = http.StatusOK
		time.Sleep(11 * time.Second)
		want(4, 4)
	})
}

// A client that leaves does not take the prices of others with it.
func TestPricesOutliveWhoAsks(t *testing.T) {
	up := answering(t, "application/json", modelInfo)
	p, _ := newPrices(t, up.URL, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := p.Of(ctx, "gpt-x"); !ok {
		t.Error("no price")
	}
}

func TestPricesFollowTheClock(t *testing.T) {
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"data":[{"model_name":"m","model_info":{"input_cost_per_token":1e-06}}]}`)
	})
	c := clock.New()
	p, err := gateway.NewPrices(gateway.Config{BaseURL: u.URL, Clock: c, Log: slog.New(slog.DiscardHandler)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for want, move := range []func(){func() {}, func() { c.Advance(time.Hour) }, c.Rewind} {
		move()
		for range 2 {
			if price, ok := p.Of(t.Context(), "m"); !ok || price.Input == 0 {
				t.Errorf("price = %v, %v", price, ok)
			}
		}
		if asked := len(u.requests()); asked != want+1 {
			t.Errorf("asked %d times, want %d", asked, want+1)
		}
	}
}
