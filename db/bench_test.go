package db_test

import (
	"strings"
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
