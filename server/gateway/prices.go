package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"lap/clock"
	"lap/server/gateway/scripted"
)

const (
	pricesTimeout = 10 * time.Second
	pricesKept    = 10 * time.Minute
	failureKept   = time.Minute // for which the model gateway is not asked again
	maxPrices     = 8 << 20     // bytes
)

// Prices are those of models: the model gateway's own where it has one, else the
// configured one.
type Prices struct {
	upstream *upstream // nil: none is configured
	table    PriceTable
	clock    *clock.Clock
	log      *slog.Logger

	mu    sync.Mutex // guards what follows, while they are fetched too
	own   map[string]Price
	asked time.Time     // when they were fetched last, or could not be
	keep  time.Duration // until they are fetched again
}

// NewPrices makes the prices of the models of cfg, with table beside the gateway's. It
// does not reach out to it.
func NewPrices(cfg Config, table PriceTable) (*Prices, error) {
	p := &Prices{table: table, clock: cfg.Clock, log: cfg.Log}
	if cfg.BaseURL == "" {
		return p, nil
	}
	var err error
	p.upstream, err = newUpstream(cfg)
	return p, err
}

// Of returns the price of a model, or false when it is not known. Scripted models cost
// nothing unless they are configured to, and so do replayed ones, which are configured by
// the name of the model that was recorded.
func (p *Prices) Of(ctx context.Context, model string) (Price, bool) {
	if strings.HasPrefix(model, scripted.Prefix) {
		price, _ := p.table.of(model)
		return price, true
	}
	if tape, ok := strings.CutPrefix(model, replayPrefix); ok {
		_, recorded, _ := strings.Cut(tape, "/")
		price, _ := p.table.of(recorded)
		return price, true
	}
	if price, ok := p.fetched(ctx)[model]; ok {
		return price, true
	}
	return p.table.of(model)
}

// fetched are the model gateway's own prices, which are fetched when they are old. Those
// that were there stay when that fails.
func (p *Prices) fetched(ctx context.Context) map[string]Price {
	if p.upstream == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := p.clock.Since(p.asked); age >= 0 && age < p.keep { // a clock that was set back is no reason to wait
		return p.own
	}
	// Others wait for the same answer: it does not depend on who asked first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pricesTimeout)
	defer cancel()
	own, err := p.upstream.prices(ctx)
	if err != nil {
		p.log.WarnContext(ctx, "prices of models not read", "err", p.upstream.redact(err.Error()))
		p.asked, p.keep = p.clock.Now(), failureKept
		return p.own
	}
	p.own, p.asked, p.keep = own, p.clock.Now(), pricesKept
	return p.own
}

// prices asks for the models' prices. A model gateway that does not know the question has
// none.
func (u *upstream) prices(ctx context.Context) (map[string]Price, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.url(target{path: "model/info"}).String(), nil)
	if err != nil {
		return nil, err
	}
	u.authorize(req)
	res, err := u.transport.RoundTrip(req) // which follows no redirect: that would show the key to another host
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= http.StatusInternalServerError:
		return nil, fmt.Errorf("the model gateway answered %d", res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return map[string]Price{}, nil
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxPrices+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxPrices {
		return nil, fmt.Errorf("the answer is longer than %d MiB", maxPrices>>20)
	}
	return parseModelInfo(text), nil
}

// authorize sets the key of a call of lap's own.
func (u *upstream) authorize(req *http.Request) {
	if u.user != nil {
		password, _ := u.user.Password()
		req.SetBasicAuth(u.user.Username(), password)
	}
	switch {
	case u.key == "":
	case u.user != nil: // Authorization is taken
		req.Header.Set("X-Litellm-Api-Key", "Bearer "+u.key)
	default:
		req.Header.Set("Authorization", "Bearer "+u.key)
	}
}

// parseModelInfo reads what LiteLLM says of its models. What is not that has no prices.
func parseModelInfo(text []byte) map[string]Price {
	var info struct {
		Data []struct {
			Name string `json:"model_name"`
			Info struct {
				Input      *float64 `json:"input_cost_per_token"`
				Output     *float64 `json:"output_cost_per_token"`
				CacheRead  *float64 `json:"cache_read_input_token_cost"`
				CacheWrite *float64 `json:"cache_creation_input_token_cost"`
			} `json:"model_info"`
		} `json:"data"`
	}
	prices := map[string]Price{}
	if json.Unmarshal(text, &info) != nil {
		return prices
	}
	for _, m := range info.Data {
		in, out := valueOf(m.Info.Input, 0), valueOf(m.Info.Output, 0)
		// LiteLLM says zero of models whose price it does not know as well.
		if m.Name == "" || in == 0 && out == 0 {
			continue
		}
		p, before := Price{in, out, valueOf(m.Info.CacheRead, in), valueOf(m.Info.CacheWrite, in)}, prices[m.Name]
		// One name may be that of several models, any of which may answer.
		prices[m.Name] = Price{
			max(p.Input, before.Input), max(p.Output, before.Output),
			max(p.CacheRead, before.CacheRead), max(p.CacheWrite, before.CacheWrite),
		}
	}
	return prices
}

// valueOf is a price for one token, or other when there is none.
func valueOf(v *float64, other float64) float64 {
	if v == nil || *v < 0 || *v > maxPrice/million {
		return other
	}
	return *v
}
