package db_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lap/db"
)

// warm puts a sandbox into the pool.
func warm(t *testing.T, s *db.Store, name, agentID, key string) {
	t.Helper()
	box := db.Sandbox{Name: name, SessionID: "session of " + name, AgentID: agentID, Generation: 1, WarmKey: &key}
	err := errors.Join(
		s.PlanSandbox(t.Context(), box),
		s.SandboxMade(t.Context(), name, "container of "+name),
		s.SandboxReady(t.Context(), name))
	if err != nil {
		t.Fatal(err)
	}
}

// sandbox returns the row of a name, nil when there is none.
func findSandbox(t *testing.T, s *db.Store, name string) *db.Sandbox {
	t.Helper()
	all, err := s.Sandboxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, box := range all {
		if box.Name == name {
			return &box
		}
	}
	return nil
}

func TestSandboxOfASession(t *testing.T) {
	s, ctx := openStore(t, config(t)), t.Context()
	session := newSession(t, s, newAgent(t, s, db.Agent{}).ID)
	plan := db.Sandbox{Name: "box", SessionID: session.ID, AgentID: session.AgentID, Generation: 1}
	want := plan
	check := func(step string, err, wantErr error) {
		t.Helper()
		if !errors.Is(err, wantErr) {
			t.Fatalf("%s: err = %v, want %v", step, err, wantErr)
		}
		got := findSandbox(t, s, "box")
		if diff := cmp.Diff(&want, got, cmpopts.IgnoreFields(db.Sandbox{}, "CreatedAt")); diff != "" {
			t.Errorf("%s: %s", step, diff)
		}
	}
	want.State = db.SandboxMaking
	check("plan", s.PlanSandbox(ctx, plan), nil)
	check("ready, though it is not warm", s.SandboxReady(ctx, "box"), db.ErrStale)
	want.State, want.ContainerID = db.SandboxOwned, new("c")
	check("made", s.SandboxMade(ctx, "box", "c"), nil)
	check("made again", s.SandboxMade(ctx, "box", "c2"), db.ErrStale)
	if got := readSession(t, s, session.ID).ContainerID; got == nil || *got != "c" {
		t.Errorf("container of the session = %v", got)
	}
	check("frozen in a bring-up", s.Freeze(ctx, session.ID, "c", later), db.ErrStale)
	markReady(t, s, session)
	want.Frozen = true
	check("frozen", s.Freeze(ctx, session.ID, "c", later), nil)
	check("adopted in no bring-up", s.AdoptSandbox(ctx, session.ID, 1, "c"), db.ErrStale)
	claim(t, s, session.ID, readyClaim)
	check("adopted by an earlier generation", s.AdoptSandbox(ctx, session.ID, 1, "c"), db.ErrStale)
	want.Frozen = false
	check("adopted", s.AdoptSandbox(ctx, session.ID, 2, "c"), nil)
	if got := readSession(t, s, session.ID).ContainerID; got == nil || *got != "c" {
		t.Errorf("container of the session = %v", got)
	}
	check("forgotten, though it is not condemned", s.ForgetSandbox(ctx, "box"), nil)
	want.State = db.SandboxRemoving
	check("condemned", s.CondemnSandbox(ctx, "box"), nil)
	check("condemned again", s.CondemnSandbox(ctx, "box"), nil)
	check("made, though it is condemned", s.SandboxMade(ctx, "box", "c"), db.ErrStale)
	check("adopted, though it is condemned", s.AdoptSandbox(ctx, session.ID, 2, "c"), db.ErrStale)
	if err := s.DeleteAgent(ctx, session.AgentID); !errors.Is(err, db.ErrLive) {
		t.Fatal(err)
	}
	if _, err := s.EndSession(ctx, session.ID); err != nil {
		t.Fatal(err)
	}
	check("its session is deleted", s.DeleteAgent(ctx, session.AgentID), nil)
	if boxes, err := s.SessionSandboxes(ctx, session.ID); err != nil || len(boxes) != 1 {
		t.Errorf("%d sandboxes of the session, %v", len(boxes), err)
	}
	if err := errors.Join(s.ForgetSandbox(ctx, "box"), s.CondemnSandbox(ctx, "box")); err != nil {
		t.Error(err)
	}
	if got := findSandbox(t, s, "box"); got != nil {
		t.Errorf("still there: %+v", got)
	}
}

func TestFreezing(t *testing.T) {
	s, ctx := openStore(t, config(t)), t.Context()
	session := newSession(t, s, newAgent(t, s, db.Agent{}).ID)
	id := session.ID
	box := sandboxMade(t, s, session, "c")
	markReady(t, s, session)
	seen := *readSession(t, s, id).LastSeenAt
	check := func(step string, err, wantErr error, frozen bool) {
		t.Helper()
		got := findSandbox(t, s, box)
		if !errors.Is(err, wantErr) || got.Frozen != frozen {
			t.Errorf("%s: err = %v, want %v; frozen = %t, want %t", step, err, wantErr, got.Frozen, frozen)
		}
	}
	check("seen at that time", s.Freeze(ctx, id, "c", seen), db.ErrStale, false)
	check("another sandbox", s.Freeze(ctx, id, "other", later), db.ErrStale, false)
	turn := addTurn(t, s, id)
	check("a turn waits", s.Freeze(ctx, id, "c", later), db.ErrStale, false)
	if _, err := s.SendTurn(ctx, id, 1, turn.Seq); err != nil {
		t.Fatal(err)
	}
	check("a turn runs", s.Freeze(ctx, id, "c", later), db.ErrStale, false)
	if err := s.EndTurn(ctx, id, turn.Seq, db.TurnFailed, "r"); err != nil {
		t.Fatal(err)
	}
	check("nothing to do", s.Freeze(ctx, id, "c", later), nil, true)
	check("again", s.Freeze(ctx, id, "c", later), nil, true)
	check("another goes on", s.Thaw(ctx, id, "other"), db.ErrStale, true)
	check("it goes on", s.Thaw(ctx, id, "c"), nil, false)
	check("and again", s.Thaw(ctx, id, "c"), nil, false)
	if err := s.MarkDead(ctx, id, 1, "r", true); err != nil {
		t.Fatal(err)
	}
	check("the session is dead", s.Freeze(ctx, id, "c", later), db.ErrStale, false)
	if err := s.CondemnSandbox(ctx, box); err != nil {
		t.Fatal(err)
	}
	check("condemned", s.Thaw(ctx, id, "c"), db.ErrStale, false)
}

func TestSandboxOfASessionThatMovedOn(t *testing.T) {
	s, ctx := openStore(t, config(t)), t.Context()
	session := newSession(t, s, newAgent(t, s, db.Agent{}).ID)
	plan := db.Sandbox{Name: "box", SessionID: session.ID, AgentID: session.AgentID, Generation: 1}
	if err := s.PlanSandbox(ctx, plan); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkFailed(ctx, session.ID, 1, "r"); err != nil {
		t.Fatal(err)
	}
	if err := s.SandboxMade(ctx, "box", "c"); !errors.Is(err, db.ErrStale) {
		t.Errorf("made: err = %v, want ErrStale", err)
	}
	if got := findSandbox(t, s, "box"); got.State != db.SandboxMaking || readSession(t, s, session.ID).ContainerID != nil {
		t.Errorf("sandbox = %+v", got)
	}
	plan.Name = "late"
	if err := s.PlanSandbox(ctx, plan); !errors.Is(err, db.ErrStale) {
		t.Errorf("plan: err = %v, want ErrStale", err)
	}
	if err := s.PlanSandbox(ctx, db.Sandbox{Name: "warm", AgentID: "nobody", WarmKey: new("k")}); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("plan for no agent: err = %v, want ErrNotFound", err)
	}
}

func TestWarmOrder(t *testing.T) {
	s := openStore(t, config(t))
	own, other := newAgent(t, s, db.Agent{}), newAgent(t, s, db.Agent{})
	for i, agent := range []db.Agent{other, own, other, own} {
		warm(t, s, fmt.Sprint("box", i), agent.ID, "k")
	}
	warm(t, s, "another", own.ID, "another key")
	making := db.Sandbox{Name: "making", SessionID: "m", AgentID: own.ID, Generation: 1, WarmKey: new("k")}
	if err := errors.Join(s.PlanSandbox(t.Context(), making), s.SandboxMade(t.Context(), "making", "c")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"box1", "box3", "box0", "box2", ""} {
		created := createSession(t, s, db.NewSession{AgentID: own.ID, WarmKey: "k"})
		if want == "" {
			if created.Warm != nil || created.Session.ContainerID != nil {
				t.Errorf("took %+v from an empty pool", created.Warm)
			}
			break
		}
		box := findSandbox(t, s, want)
		if diff := cmp.Diff(box, created.Warm); diff != "" || box.State != db.SandboxOwned || box.AgentID != own.ID {
			t.Errorf("want %s: %s", want, diff)
		}
		if got := created.Session; got.ID != box.SessionID || got.Generation != box.Generation || *got.ContainerID != *box.ContainerID || got.Status != db.StatusCreating {
			t.Errorf("session = %+v", got)
		}
	}
	if created := createSession(t, s, db.NewSession{AgentID: own.ID}); created.Warm != nil {
		t.Errorf("took %+v without a key", created.Warm)
	}
}

func TestWarmSandboxesAreTakenOnce(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	for i := range 10 {
		warm(t, s, fmt.Sprint("box", i), agent.ID, "k")
	}
	var mu sync.Mutex
	var taken []string
	cold := 0
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			created, err := s.CreateSession(t.Context(), db.NewSession{AgentID: agent.ID, WarmKey: "k", Deadline: later})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case created.Warm == nil:
				cold++
			default:
				taken = append(taken, created.Warm.Name)
			}
		})
	}
	wg.Wait()
	slices.Sort(taken)
	if len(slices.Compact(taken)) != 10 || cold != 40 {
		t.Errorf("taken: %v, and %d cold", taken, cold)
	}
}

func TestRefusedSessionTakesNoSandbox(t *testing.T) {
	s := openStore(t, config(t))
	warm(t, s, "box", newAgent(t, s, db.Agent{}).ID, "k")
	if _, err := s.CreateSession(t.Context(), db.NewSession{AgentID: "nobody", WarmKey: "k"}); !errors.Is(err, db.ErrNotFound) {
		t.Fatalf("err = %v, want ErrNotFound", err)
	}
	if got := findSandbox(t, s, "box").State; got != db.SandboxWarm {
		t.Errorf("state = %s, want warm", got)
	}
}

func TestCondemningThePool(t *testing.T) {
	s, ctx := openStore(t, config(t)), t.Context()
	one, two := newAgent(t, s, db.Agent{}), newAgent(t, s, db.Agent{})
	for i, agent := range []db.Agent{one, one, two} {
		warm(t, s, fmt.Sprint("box", i), agent.ID, "k")
	}
	making := db.Sandbox{Name: "making", SessionID: "m", AgentID: one.ID, Generation: 1, WarmKey: new("k")}
	if err := s.PlanSandbox(ctx, making); err != nil {
		t.Fatal(err)
	}
	taken := createSession(t, s, db.NewSession{AgentID: one.ID, WarmKey: "k"}).Warm.Name
	names := func(agentID string) []string {
		t.Helper()
		list, err := s.CondemnWarm(ctx, agentID)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, box := range list {
			if box.State != db.SandboxRemoving {
				t.Errorf("%s is %s", box.Name, box.State)
			}
			names = append(names, box.Name)
		}
		slices.Sort(names)
		return names
	}
	if diff := cmp.Diff([]string{"box1", "making"}, names(one.ID)); diff != "" || taken != "box0" {
		t.Error(diff, taken)
	}
	if diff := cmp.Diff([]string{"box2"}, names("")); diff != "" {
		t.Error(diff)
	}
	if err := s.SandboxReady(ctx, "making"); !errors.Is(err, db.ErrStale) {
		t.Errorf("ready after it was condemned: err = %v, want ErrStale", err)
	}
	if got := findSandbox(t, s, taken).State; got != db.SandboxOwned {
		t.Errorf("the one that was taken is %s", got)
	}
}

func TestRecentAgents(t *testing.T) {
	s := openStore(t, config(t))
	var ids []string
	for range 4 {
		ids = append(ids, newAgent(t, s, db.Agent{}).ID)
	}
	newSession(t, s, ids[3])
	since := newSession(t, s, ids[0]).CreatedAt
	newSession(t, s, ids[1])
	newSession(t, s, ids[2])
	newSession(t, s, ids[1])
	for _, tt := range []struct {
		since time.Time
		limit int
		want  []string
	}{{since, 9, []string{ids[1], ids[2], ids[0]}}, {since, 2, []string{ids[1], ids[2]}}, {later, 9, nil}} {
		got, err := s.RecentAgents(t.Context(), tt.since, tt.limit)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Error(diff, err)
		}
	}
}
