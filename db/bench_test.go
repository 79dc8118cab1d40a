package db_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"lap/db"
)

// BenchmarkAgent reads one agent by its id: one that is kept in memory, and one that is
// too large for that.
func BenchmarkAgent(b *testing.B) {
	for name, prompt := range map[string]string{"kept": "You fix bugs.", "from the file": strings.Repeat("You fix bugs. ", 3000)} {
		b.Run(name, func(b *testing.B) {
			s := openStore(b, config(b))
			agent, err := s.CreateAgent(b.Context(), db.Agent{
				Name: &name, Prompt: &prompt, Model: "gpt", HarnessID: "lap", Branch: "main",
				Env: map[string]string{"TOKEN": "secret"}, AllowOut: []string{"api.x.com"},
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Agent(b.Context(), agent.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAppend appends batches of events to the logs of several sessions at once, one
// appender a session.
func BenchmarkAppend(b *testing.B) {
	for _, batch := range []int{1, 64} {
		for _, appenders := range []int{1, 16, 100} {
			b.Run(fmt.Sprintf("%d appenders of %d", appenders, batch), func(b *testing.B) {
				s := openStore(b, config(b))
				agent := newAgent(b, s, db.Agent{})
				sessions := make([]db.Session, appenders)
				for i := range sessions {
					sessions[i] = newReadySession(b, s, agent.ID)
				}
				list := deltas(make([]string, batch)...)
				b.ResetTimer()
				var wg sync.WaitGroup
				for i, session := range sessions {
					wg.Go(func() {
						for n := i; n < b.N; n += appenders {
							appendTo(b, s, session, list...)
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// BenchmarkPack packs a turn of 4096 deltas, and reads it as it was before and is then.
func BenchmarkPack(b *testing.B) {
	s := openStore(b, config(b))
	session := newReadySession(b, s, newAgent(b, s, db.Agent{}).ID)
	texts := make([]string, 4096)
	for i := range texts {
		texts[i] = "some text "
	}
	list := deltas(texts...)
	read := func(b *testing.B, after int64) {
		b.Helper()
		for from, end := after, after+4096; from < end; from += 256 {
			if got, err := s.Events(b.Context(), session.ID, from, 256); err != nil || len(got) != 256 {
				b.Fatal(len(got), err)
			}
		}
	}
	b.Run("pack", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			last := appendTo(b, s, session, list...)
			b.StartTimer()
			if err := s.PackEvents(b.Context(), session.ID, last-4096, last); err != nil {
				b.Fatal(err)
			}
		}
	})
	last := appendTo(b, s, session, list...)
	b.Run("read plain", func(b *testing.B) {
		for b.Loop() {
			read(b, last-4096)
		}
	})
	if err := s.PackEvents(b.Context(), session.ID, last-4096, last); err != nil {
		b.Fatal(err)
	}
	b.Run("read packed", func(b *testing.B) {
		for b.Loop() {
			read(b, last-4096)
		}
	})
}
