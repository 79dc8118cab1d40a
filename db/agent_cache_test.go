package db_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/db"
)

func TestReadsFollowChanges(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 { // who reads all the time, and so brings back what was if that is possible
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if _, err := s.Agent(t.Context(), agent.ID); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for n := range 50 {
		model := fmt.Sprint("model-", n)
		update(t, s, agent.ID, func(a *db.Agent) { a.Model = model })
		if got := readAgent(t, s, agent.ID).Model; got != model {
			t.Errorf("model = %s after it was changed to %s", got, model)
		}
	}
	close(done)
	wg.Wait()
	if err := s.DeleteAgent(t.Context(), agent.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Agent(t.Context(), agent.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("after it was deleted: err = %v, want ErrNotFound", err)
	}
}

func TestFailedChangeIsNotRead(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, fullAgent())
	readAgent(t, s, agent.ID)
	_, err := s.UpdateAgent(t.Context(), agent.ID, func(a *db.Agent) error {
		a.Model, a.Env["A"], a.MCPServers[0] = "x", "x", "x" // what it may change is its own
		delete(a.EnvVarHosts, "B")
		return errors.New("refused")
	})
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(agent, readAgent(t, s, agent.ID), sameAgent); diff != "" {
		t.Error(diff)
	}
}

func TestManyAndLargeAgentsAreReadRight(t *testing.T) {
	s := openStore(t, config(t))
	large := newAgent(t, s, db.Agent{Prompt: new(strings.Repeat("x", 1<<20))})
	var all []db.Agent
	for n := range 140 {
		all = append(all, newAgent(t, s, db.Agent{Name: new(fmt.Sprint(n))}))
	}
	for range 2 {
		for _, a := range all {
			if got := readAgent(t, s, a.ID); *got.Name != *a.Name {
				t.Fatalf("name = %s, want %s", *got.Name, *a.Name)
			}
		}
		if got := readAgent(t, s, large.ID); len(*got.Prompt) != 1<<20 {
			t.Fatalf("prompt has %d characters", len(*got.Prompt))
		}
	}
}
