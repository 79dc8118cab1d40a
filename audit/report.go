package audit

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/docker/go-units"
)

// A Report is what an audit has found.
type Report struct {
	Clean    bool          `json:"clean"` // no hits, and every control held
	Canaries []string      `json:"canaries"`
	Places   []*Place      `json:"places"`
	Controls []Control     `json:"controls"`
	Skipped  []string      `json:"skipped"` // what could not be looked at, and why
	Duration time.Duration `json:"duration_ns"`
}

// A Control proves that the audit works: something that must be so.
type Control struct {
	Name string `json:"control"`
	Held bool   `json:"held"`
}

// Hits is how many finds of secrets there are.
func (r *Report) Hits() (n int) {
	for _, p := range r.Places {
		for _, h := range p.Hits {
			n += h.Times
		}
	}
	return n
}

func (r *Report) failed() (n int) {
	for _, c := range r.Controls {
		if !c.Held {
			n++
		}
	}
	return n
}

// conclude says whether the report is clean.
func (r *Report) conclude() { r.Clean = r.Hits() == 0 && r.failed() == 0 }

// Write prints a report for people.
func (r *Report) Write(w io.Writer) error {
	p := printer{w: w}
	p.line("Places (%d canaries looked for in each: plain, base64, hex, URL- and JSON-escaped)", len(r.Canaries))
	for _, place := range r.Places {
		p.place(place)
	}
	p.line("\nControls (the audit must find what is there, and real values must reach where they belong)")
	for _, c := range r.Controls {
		p.line("  %s  %s", mood(c.Held, "ok  ", "FAIL"), c.Name)
	}
	for _, s := range r.Skipped {
		p.line("  skip  %s", s)
	}
	p.line("\n%s", r.sentence())
	return p.err
}

func mood(good bool, yes, no string) string {
	if good {
		return yes
	}
	return no
}

// sentence is what it all comes to.
func (r *Report) sentence() string {
	var bytes int64
	for _, p := range r.Places {
		bytes += p.Bytes
	}
	scope := fmt.Sprintf("%d canaries, %d places, %s looked at in %.1f s", len(r.Canaries), len(r.Places), units.HumanSize(float64(bytes)), r.Duration.Seconds())
	switch hits, failed := r.Hits(), r.failed(); {
	case hits > 0:
		return fmt.Sprintf("SECRETS LEAK: %d hits; %s.", hits, scope)
	case failed > 0:
		return fmt.Sprintf("NOT PROVEN: no hits, but %d of %d controls failed; %s.", failed, len(r.Controls), scope)
	default:
		return fmt.Sprintf("No secret leaks: 0 hits, all %d controls held; %s.", len(r.Controls), scope)
	}
}

// A printer keeps the first error of its writer.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if _, err := fmt.Fprintf(p.w, format+"\n", args...); p.err == nil {
		p.err = err
	}
}

func (p *printer) place(place *Place) {
	hits := 0
	for _, h := range place.Hits {
		hits += h.Times
	}
	p.line("  %s  %-58s %5d looks %9s  %s", mood(hits == 0, "ok  ", "LEAK"), place.Name, place.Looks, units.HumanSize(float64(place.Bytes)), count(hits, "hit"))
	for _, h := range place.Hits {
		p.line("          %s, %s, %s: %s", h.Canary, h.Spelling, count(h.Times, "time"), h.Context)
	}
	if len(place.Expected) > 0 {
		p.line("          by design: %s", strings.Join(place.Expected, ", "))
	}
	if place.Note != "" {
		p.line("          %s", place.Note)
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
