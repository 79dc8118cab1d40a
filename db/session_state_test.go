package db_test

import (
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lap/db"
)

// Where a session can be, as the tests below see it.
const (
	creating  = "creating"
	replacing = "creating again"            // in place of a sandbox that ran
	reviving  = "creating again, revivable" // in place of a sandbox that was lost
	ready     = "ready"
	failed    = "failed"
	lost      = "dead, revivable"
	dead      = "dead"
	otherPast = "of an earlier generation" // ready, seen by a caller that knows the one before
)

// sessionIn makes a session that is in a state, with one turn running, if it can be, and
// one queued. gen is the generation that a caller believes it has.
func sessionIn(t *testing.T, s *db.Store, state string) (id string, gen int64) {
	t.Helper()
	ctx, agent := t.Context(), newAgent(t, s, db.Agent{})
	var err error
	session := newSession(t, s, agent.ID)
	id, gen = session.ID, 1
	busy := func() {
		markReady(t, s, session)
		runTurn(t, s, session)
		addTurn(t, s, id)
	}
	switch state {
	case creating:
	case ready:
		busy()
	case failed:
		err = s.MarkFailed(ctx, id, 1, "first reason")
	case dead:
		busy()
		err = s.MarkDead(ctx, id, 1, "first reason", false)
	case lost:
		busy()
		err = s.MarkDead(ctx, id, 1, "first reason", true)
	case reviving:
		busy()
		err = s.MarkDead(ctx, id, 1, "first reason", true)
		gen = claim(t, s, id, lostClaim).Generation
	case replacing:
		busy()
		gen = claim(t, s, id, readyClaim).Generation
	case otherPast:
		busy()
		markReady(t, s, claim(t, s, id, readyClaim))
	}
	if err != nil {
		t.Fatal(err)
	}
	return id, gen
}

// The claims of a restart, and of a message to a session whose sandbox was lost.
var (
	readyClaim = db.Claim{From: []string{db.StatusReady}, Deadline: later}
	lostClaim  = db.Claim{From: []string{db.StatusDead}, Lost: true, Deadline: later}
)

func claim(t *testing.T, s *db.Store, id string, c db.Claim) db.Session {
	t.Helper()
	session, err := s.ClaimSession(t.Context(), id, c)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// TestTransitions tries every step from every state. What is not in wants is ErrStale and
// changes nothing.
func TestTransitions(t *testing.T) {
	steps := []struct {
		name  string
		run   func(s *db.Store, id string, gen int64) error
		wants map[string]string // state before, status after
	}{
		{
			"SetPhase", func(s *db.Store, id string, gen int64) error {
				return s.SetPhase(t.Context(), id, gen, "phase", "detail", later)
			},
			map[string]string{creating: db.StatusCreating, replacing: db.StatusCreating, reviving: db.StatusCreating},
		},
		{
			"SetProgressToken", func(s *db.Store, id string, gen int64) error {
				return s.SetProgressToken(t.Context(), id, gen, "hash")
			},
			map[string]string{creating: db.StatusCreating, replacing: db.StatusCreating, reviving: db.StatusCreating},
		},
		{
			"MarkReady", func(s *db.Store, id string, gen int64) error {
				return s.MarkReady(t.Context(), id, gen, db.Readiness{})
			},
			map[string]string{creating: db.StatusReady, replacing: db.StatusReady, reviving: db.StatusReady},
		},
		{
			"MarkFailed", func(s *db.Store, id string, gen int64) error { return s.MarkFailed(t.Context(), id, gen, "reason") },
			map[string]string{creating: db.StatusFailed, replacing: db.StatusFailed, reviving: db.StatusFailed},
		},
		{
			"MarkUnreachable", func(s *db.Store, id string, gen int64) error {
				return s.MarkUnreachable(t.Context(), id, gen, "reason", nil)
			},
			map[string]string{creating: db.StatusDead, replacing: db.StatusDead, reviving: db.StatusDead},
		},
		{
			"MarkUnreachable with something left", func(s *db.Store, id string, gen int64) error {
				return s.MarkUnreachable(t.Context(), id, gen, "reason", new("left"))
			},
			map[string]string{creating: db.StatusDead, replacing: db.StatusDead, reviving: db.StatusDead},
		},
		{
			"MarkDead", func(s *db.Store, id string, gen int64) error {
				return s.MarkDead(t.Context(), id, gen, "reason", false)
			},
			map[string]string{ready: db.StatusDead},
		},
		{
			"MarkDead revivable", func(s *db.Store, id string, gen int64) error {
				return s.MarkDead(t.Context(), id, gen, "reason", true)
			},
			map[string]string{ready: db.StatusDead},
		},
		{
			"MarkIdle", func(s *db.Store, id string, gen int64) error { return s.MarkIdle(t.Context(), id, gen, later) },
			map[string]string{}, // turns are open
		},
		{
			"GiveUp", func(s *db.Store, id string, gen int64) error { return s.GiveUp(t.Context(), id, gen) },
			map[string]string{lost: db.StatusDead},
		},
		{
			"NoteFailure", func(s *db.Store, id string, _ int64) error { return s.NoteFailure(t.Context(), id, "reason") },
			map[string]string{ready: db.StatusReady, otherPast: db.StatusReady},
		},
		{
			"Touch", func(s *db.Store, id string, _ int64) error { return s.Touch(t.Context(), id) },
			map[string]string{ready: db.StatusReady, otherPast: db.StatusReady},
		},
		{
			"Append", func(s *db.Store, id string, gen int64) error {
				_, err := s.Append(t.Context(), db.Batch{SessionID: id, Generation: gen, Journal: 1, Events: events("x")})
				return err
			},
			map[string]string{ready: db.StatusReady},
		},
		{
			"SendTurn", func(s *db.Store, id string, gen int64) error {
				_, err := s.SendTurn(t.Context(), id, gen, 1)
				return err
			},
			map[string]string{}, // another one runs, or the session is not ready
		},
		{
			"AddTurn", func(s *db.Store, id string, _ int64) error {
				_, _, err := s.AddTurn(t.Context(), id, db.NewTurn{Parts: json.RawMessage(`[]`)})
				return err
			},
			map[string]string{ready: db.StatusReady, otherPast: db.StatusReady, replacing: db.StatusCreating, reviving: db.StatusCreating, lost: db.StatusDead},
		},
		{
			"CancelTurn", func(s *db.Store, id string, _ int64) error { return s.CancelTurn(t.Context(), id, 1, "reason") },
			map[string]string{ready: db.StatusReady, otherPast: db.StatusReady, replacing: db.StatusCreating, reviving: db.StatusCreating, lost: db.StatusDead},
		},
		{
			"SaveThread", func(s *db.Store, id string, _ int64) error { return s.SaveThread(t.Context(), id, nil, []string{"m"}) },
			map[string]string{
				creating: db.StatusCreating, replacing: db.StatusCreating, reviving: db.StatusCreating,
				failed: db.StatusFailed, lost: db.StatusDead, dead: db.StatusDead,
			},
		},
		{
			"ClaimSession ready", claiming(t, readyClaim),
			map[string]string{ready: db.StatusCreating, otherPast: db.StatusCreating},
		},
		{
			"ClaimSession any but creating", claiming(t, db.Claim{From: []string{db.StatusReady, db.StatusFailed, db.StatusDead}, Deadline: later}),
			map[string]string{
				ready: db.StatusCreating, otherPast: db.StatusCreating, failed: db.StatusCreating, dead: db.StatusCreating, lost: db.StatusCreating,
			},
		},
		{
			"ClaimSession lost", claiming(t, lostClaim),
			map[string]string{lost: db.StatusCreating},
		},
		{
			"EndSession", func(s *db.Store, id string, _ int64) error {
				_, err := s.EndSession(t.Context(), id)
				return err
			},
			map[string]string{
				creating: db.StatusDead, replacing: db.StatusDead, reviving: db.StatusDead, ready: db.StatusDead, otherPast: db.StatusDead,
				failed: db.StatusDead, lost: db.StatusDead, dead: db.StatusDead,
			},
		},
	}
	s := openStore(t, config(t))
	for _, step := range steps {
		for _, state := range []string{creating, replacing, reviving, ready, failed, lost, dead, otherPast} {
			t.Run(step.name+" "+state, func(t *testing.T) {
				id, gen := sessionIn(t, s, state)
				before := wholeSession(t, s, id)
				err := step.run(s, id, gen)
				after := wholeSession(t, s, id)
				want, ok := step.wants[state]
				if !ok {
					if diff := cmp.Diff(before, after); !errors.Is(err, db.ErrStale) || diff != "" {
						t.Errorf("err = %v, want ErrStale and no change: %s", err, diff)
					}
					return
				}
				if err != nil || after.Session.Status != want {
					t.Errorf("status = %s, %v, want %s", after.Session.Status, err, want)
				}
				checkInvariants(t, after)
			})
		}
	}
}

func claiming(t *testing.T, c db.Claim) func(*db.Store, string, int64) error {
	t.Helper()
	return func(s *db.Store, id string, _ int64) error {
		_, err := s.ClaimSession(t.Context(), id, c)
		return err
	}
}

// A stored is all that the database has of a session.
type stored struct {
	Session db.Session
	Turns   []db.Turn
	Events  []db.Event
}

func wholeSession(t *testing.T, s *db.Store, id string) stored {
	t.Helper()
	turns, err := s.Turns(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return stored{readSession(t, s, id), turns, allEvents(t, s, id)}
}

// checkInvariants checks what holds in every state.
func checkInvariants(t *testing.T, all stored) {
	t.Helper()
	s, running, open := all.Session, 0, 0
	for _, turn := range all.Turns {
		if turn.Status == db.TurnRunning {
			running++
		}
		if turn.Open() {
			open++
		} else if turn.CompletedAt == nil || turn.Error == nil && turn.Status != db.TurnComplete {
			t.Errorf("turn %d is over without a time or a reason", turn.Seq)
		}
	}
	over := s.Status == db.StatusFailed || s.Status == db.StatusDead
	switch {
	case s.Revivable && s.Status != db.StatusDead && s.Status != db.StatusCreating:
		t.Error("revivable, and", s.Status)
	case over != (s.StoppedAt != nil):
		t.Errorf("status = %s, stopped at %v", s.Status, s.StoppedAt)
	case (s.Status == db.StatusCreating) != (s.DeadlineAt != nil):
		t.Errorf("status = %s, deadline %v", s.Status, s.DeadlineAt)
	case running > 0 && s.Status != db.StatusReady || running > 1:
		t.Errorf("%d turns run in a session that is %s", running, s.Status)
	case open > 0 && over && !s.Revivable:
		t.Errorf("%d turns wait for a session that is over", open)
	case s.LastEvent != int64(len(all.Events)):
		t.Errorf("last event = %d of %d", s.LastEvent, len(all.Events))
	}
}

func TestBringUpRoundTrip(t *testing.T) {
	s := openStore(t, config(t))
	session := createSession(t, s, db.NewSession{AgentID: newAgent(t, s, db.Agent{}).ID, Warnings: []string{"w"}}).Session
	id, ctx := session.ID, t.Context()
	deadline := later.Add(time.Hour)
	long := ""
	for range 600 {
		long += "ä"
	}
	err := errors.Join(
		s.SetProgressToken(ctx, id, 1, "hash"),
		s.SetPhase(ctx, id, 1, "pod_running", long, deadline))
	if err != nil {
		t.Fatal(err)
	}
	got := readSession(t, s, id)
	if len([]rune(*got.PhaseDetail)) != 500 || *got.Phase != "pod_running" || !got.DeadlineAt.Equal(deadline) || *got.ProgressToken != "hash" {
		t.Errorf("creating: %+v", got)
	}
	if err := s.MarkReady(ctx, id, 1, db.Readiness{HarnessSessionID: "h", GuestID: "g", Timings: json.RawMessage(`{"ready":1}`)}); err != nil {
		t.Fatal(err)
	}
	got = readSession(t, s, id)
	want := session
	want.Status, want.Phase, want.Timings = db.StatusReady, new("ready"), json.RawMessage(`{"ready":1}`)
	want.HarnessSessionID, want.GuestID, want.ProgressToken, want.DeadlineAt = new("h"), new("g"), new("hash"), nil
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(db.Session{}, "LastSeenAt")); diff != "" || got.LastSeenAt == nil {
		t.Error(diff, got.LastSeenAt)
	}
	reply(t, s, got, `{}`)
	claimed := claim(t, s, id, db.Claim{From: []string{db.StatusReady}, Deadline: deadline})
	want = session
	want.Generation, want.DeadlineAt, want.Response = 2, &deadline, json.RawMessage(`{}`)
	ignore := cmpopts.IgnoreFields(db.Session{}, "LastSeenAt", "CreatingSince")
	if diff := cmp.Diff(want, claimed, ignore); diff != "" || !claimed.CreatingSince.After(session.CreatingSince) {
		t.Error(diff)
	}
	if err := s.MarkReady(ctx, id, 2, db.Readiness{Warnings: []string{}}); err != nil {
		t.Fatal(err)
	}
	if got := readSession(t, s, id).Warnings; len(got) != 0 {
		t.Errorf("warnings = %v, want none", got)
	}
}

// sandboxMade gives a session that is creating a sandbox, and returns its name.
func sandboxMade(t *testing.T, s *db.Store, session db.Session, containerID string) string {
	t.Helper()
	box := db.Sandbox{Name: containerID + " of " + session.ID, SessionID: session.ID, AgentID: session.AgentID, Generation: session.Generation}
	if err := errors.Join(s.PlanSandbox(t.Context(), box), s.SandboxMade(t.Context(), box.Name, containerID)); err != nil {
		t.Fatal(err)
	}
	return box.Name
}

// newLostSession stores a session that has lost the sandbox "old".
func newLostSession(t *testing.T, s *db.Store) db.Session {
	t.Helper()
	session := newSession(t, s, newAgent(t, s, db.Agent{}).ID)
	sandboxMade(t, s, session, "old")
	markReady(t, s, session)
	if err := s.MarkDead(t.Context(), session.ID, 1, "lost", true); err != nil {
		t.Fatal(err)
	}
	return readSession(t, s, session.ID)
}

func TestOneOfManyClaimsSucceeds(t *testing.T) {
	s := openStore(t, config(t))
	session := newLostSession(t, s)
	var winners atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			claimed, err := s.ClaimSession(t.Context(), session.ID, lostClaim)
			if errors.Is(err, db.ErrStale) {
				return
			}
			winners.Add(1)
			if err != nil || claimed.Generation != 2 || !claimed.Revivable || claimed.ContainerID == nil || *claimed.ContainerID != "old" {
				t.Errorf("claimed = %+v, %v", claimed, err)
			}
		})
	}
	wg.Wait()
	if n := winners.Load(); n != 1 {
		t.Errorf("%d of 50 claims succeeded, want 1", n)
	}
	if _, err := s.ClaimSession(t.Context(), "nobody", lostClaim); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("of nobody: err = %v, want ErrNotFound", err)
	}
}

// TestALostSandboxIsKeptUntilItIsReplaced: what is left of it may hold what nothing else
// does, and the bring-up that would replace it may fail.
func TestALostSandboxIsKeptUntilItIsReplaced(t *testing.T) {
	type place struct {
		Status    string
		Revivable bool
		Container string
	}
	bringUp := func(c db.Claim, end func(s *db.Store, session db.Session) error) func(*testing.T, *db.Store, string) {
		return func(t *testing.T, s *db.Store, id string) {
			t.Helper()
			if err := end(s, claim(t, s, id, c)); err != nil {
				t.Fatal(err)
			}
		}
	}
	anyClaim := db.Claim{From: []string{db.StatusReady, db.StatusDead}, Deadline: later}
	tests := []struct {
		name string
		step func(t *testing.T, s *db.Store, id string)
		want place
	}{
		{"claimed", bringUp(lostClaim, func(*db.Store, db.Session) error { return nil }), place{db.StatusCreating, true, "old"}},
		{"claimed for a new one", bringUp(anyClaim, func(*db.Store, db.Session) error { return nil }), place{db.StatusCreating, false, ""}},
		{"adopted", bringUp(lostClaim, func(s *db.Store, session db.Session) error {
			return s.AdoptSandbox(t.Context(), session.ID, session.Generation, "old")
		}), place{db.StatusCreating, true, "old"}},
		{"adopted and ready", bringUp(lostClaim, func(s *db.Store, session db.Session) error {
			return errors.Join(s.AdoptSandbox(t.Context(), session.ID, session.Generation, "old"),
				s.MarkReady(t.Context(), session.ID, session.Generation, db.Readiness{}))
		}), place{db.StatusReady, false, "old"}},
		{"replaced", bringUp(lostClaim, func(s *db.Store, session db.Session) error {
			sandboxMade(t, s, session, "new")
			return nil
		}), place{db.StatusCreating, false, "new"}},
		{"unreachable", bringUp(lostClaim, func(s *db.Store, session db.Session) error {
			return s.MarkUnreachable(t.Context(), session.ID, session.Generation, "r", session.ContainerID)
		}), place{db.StatusDead, true, "old"}},
		{"unreachable, and nothing left", bringUp(lostClaim, func(s *db.Store, session db.Session) error {
			return s.MarkUnreachable(t.Context(), session.ID, session.Generation, "r", nil)
		}), place{db.StatusDead, false, ""}},
		{"failed", bringUp(lostClaim, func(s *db.Store, session db.Session) error {
			return s.MarkFailed(t.Context(), session.ID, session.Generation, "r")
		}), place{db.StatusFailed, false, ""}},
		{"stopped on the way", bringUp(lostClaim, func(s *db.Store, session db.Session) error {
			_, err := s.EndSession(t.Context(), session.ID)
			return err
		}), place{db.StatusDead, false, "old"}},
	}
	s := openStore(t, config(t))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := newLostSession(t, s).ID
			tt.step(t, s, id)
			all := wholeSession(t, s, id)
			got := place{Status: all.Session.Status, Revivable: all.Session.Revivable}
			if all.Session.ContainerID != nil {
				got.Container = *all.Session.ContainerID
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			checkInvariants(t, all)
		})
	}
}

// TestUnreachableSessionsAreTriedAgain: each message tries once more, and between them the
// session counts as lost, so that it can be given up.
func TestUnreachableSessionsAreTriedAgain(t *testing.T) {
	s, ctx := openStore(t, config(t)), t.Context()
	id := newLostSession(t, s).ID
	for gen := int64(2); gen < 5; gen++ {
		claimed := claim(t, s, id, lostClaim)
		if list, err := s.LostSessions(ctx, later); err != nil || len(list) != 0 || claimed.Generation != gen {
			t.Errorf("while it is brought back in generation %d: lost = %+v, %v", claimed.Generation, list, err)
		}
		if err := s.MarkUnreachable(ctx, id, gen, "no engine", claimed.ContainerID); err != nil {
			t.Fatal(err)
		}
		got, err := s.LostSessions(ctx, later)
		if diff := cmp.Diff([]db.Session{readSession(t, s, id)}, got); err != nil || diff != "" || *got[0].FailureReason != "no engine" {
			t.Error(diff, err)
		}
	}
}

func TestClaimTakesEnvNames(t *testing.T) {
	s := openStore(t, config(t))
	session := createSession(t, s, db.NewSession{AgentID: newAgent(t, s, db.Agent{}).ID, EnvNames: []string{"B", "D"}, EnvPlain: []string{"D"}}).Session
	for _, step := range []struct{ give, want []string }{
		{nil, []string{"B", "D"}}, {[]string{"C", "B", "A"}, []string{"C", "B", "A"}}, {nil, []string{"C", "B", "A"}}, {[]string{`"`}, []string{`"`}}, {[]string{}, []string{}},
	} {
		markReady(t, s, session)
		c := readyClaim
		c.EnvNames = step.give
		session = claim(t, s, session.ID, c)
		if diff := cmp.Diff(step.want, session.EnvNames); diff != "" || len(session.EnvPlain) != 1 {
			t.Error(diff, session.EnvPlain)
		}
	}
}

func TestWhatHappensToOpenTurns(t *testing.T) {
	tests := []struct {
		name   string
		step   func(s *db.Store, id string) error
		states [2]string // of the turn that ran, and of the one that waited
	}{
		{"ended", func(s *db.Store, id string) error {
			_, err := s.EndSession(t.Context(), id)
			return err
		}, [2]string{db.TurnFailed, db.TurnFailed}},
		{"dead", func(s *db.Store, id string) error { return s.MarkDead(t.Context(), id, 1, "r", false) }, [2]string{db.TurnFailed, db.TurnFailed}},
		{"lost", func(s *db.Store, id string) error { return s.MarkDead(t.Context(), id, 1, "r", true) }, [2]string{db.TurnInterrupted, db.TurnQueued}},
		{"lost and given up", func(s *db.Store, id string) error {
			return errors.Join(s.MarkDead(t.Context(), id, 1, "r", true), s.GiveUp(t.Context(), id, 1))
		}, [2]string{db.TurnInterrupted, db.TurnFailed}},
		{"claimed", func(s *db.Store, id string) error {
			return claiming(t, readyClaim)(s, id, 1)
		}, [2]string{db.TurnInterrupted, db.TurnQueued}},
		{"claimed and failed", func(s *db.Store, id string) error {
			return errors.Join(claiming(t, readyClaim)(s, id, 1), s.MarkFailed(t.Context(), id, 2, "r"))
		}, [2]string{db.TurnInterrupted, db.TurnFailed}},
		{"claimed and unreachable", func(s *db.Store, id string) error {
			return errors.Join(claiming(t, readyClaim)(s, id, 1), s.MarkUnreachable(t.Context(), id, 2, "r", new("left")))
		}, [2]string{db.TurnInterrupted, db.TurnFailed}},
	}
	s := openStore(t, config(t))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, _ := sessionIn(t, s, ready)
			if err := tt.step(s, id); err != nil {
				t.Fatal(err)
			}
			all := wholeSession(t, s, id)
			if got := [2]string{all.Turns[0].Status, all.Turns[1].Status}; got != tt.states {
				t.Errorf("turns are %v, want %v", got, tt.states)
			}
			checkInvariants(t, all)
		})
	}
}

func TestIdleSessions(t *testing.T) {
	s := openStore(t, config(t))
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	if err := s.MarkIdle(t.Context(), session.ID, 1, *session.LastSeenAt); !errors.Is(err, db.ErrStale) {
		t.Errorf("not before: err = %v, want ErrStale", err)
	}
	turn := addTurn(t, s, session.ID)
	if err := s.MarkIdle(t.Context(), session.ID, 1, later); !errors.Is(err, db.ErrStale) {
		t.Errorf("with an open turn: err = %v, want ErrStale", err)
	}
	if err := s.EndTurn(t.Context(), session.ID, turn.Seq, db.TurnFailed, "no"); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkIdle(t.Context(), session.ID, 1, later); err != nil {
		t.Fatal(err)
	}
	got := readSession(t, s, session.ID)
	if got.Status != db.StatusDead || *got.FailureReason != "idle timeout" || got.Revivable {
		t.Errorf("got %+v", got)
	}
}

func TestEndingKeepsWhatWasKnown(t *testing.T) {
	s := openStore(t, config(t))
	id, gen := sessionIn(t, s, lost)
	stopped := readSession(t, s, id).StoppedAt
	got, err := s.EndSession(t.Context(), id)
	if err != nil || got.Revivable || *got.FailureReason != "first reason" || !got.StoppedAt.Equal(*stopped) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := s.GiveUp(t.Context(), id, gen); !errors.Is(err, db.ErrStale) {
		t.Errorf("given up after that: err = %v, want ErrStale", err)
	}
	if _, err := s.EndSession(t.Context(), "nobody"); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("of nobody: err = %v, want ErrNotFound", err)
	}
}
