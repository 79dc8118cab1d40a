package db_test

import (
	"context"
	"testing"

	"lap/db"
)

// BenchmarkAgent reads one agent by its id.
func BenchmarkAgent(b *testing.B) {
	s := openStore(b, config(b))
	name, prompt := "bench", "You fix bugs."
	agent, err := s.CreateAgent(b.Context(), db.Agent{
		Name: &name, Prompt: &prompt, Model: "gpt", HarnessID: "lap", Branch: "main",
		Env: map[string]string{"TOKEN": "secret"}, AllowOut: []string{"api.x.com"},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context()) // as that of a request can
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Agent(ctx, agent.ID); err != nil {
			b.Fatal(err)
		}
	}
}
