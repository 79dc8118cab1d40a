package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

// pooled is a world that keeps sandboxes warm. No time passes by itself.
func pooled(t *testing.T, change func(*session.PoolConfig)) *world {
	t.Helper()
	return newWorld(t, func(c *session.Config) {
		c.Pool = session.PoolConfig{Size: 2, MaxProvisioning: 2, TTL: time.Hour, Recent: time.Hour}
		if change != nil {
			change(&c.Pool)
		}
	})
}

// another is a further agent.
func (w *world) another(t *testing.T) db.Agent {
	t.Helper()
	a, err := w.store.CreateAgent(t.Context(), db.Agent{Model: "vendor/model", HarnessID: sandbox.HarnessLap, Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// awaitWarm waits until the pool is as wanted: agents' ids, of sandboxes that are warm.
func (w *world) awaitWarm(t *testing.T, want ...string) []string {
	t.Helper()
	var ids []string
	eventually(t, func() error {
		var agents []string
		ids = nil
		for _, row := range w.query(t, `SELECT agent_id, container_id FROM sandboxes WHERE state = 'warm' ORDER BY agent_id, container_id`) {
			agent, id, _ := strings.Cut(row, " ")
			agents, ids = append(agents, agent), append(ids, id)
		}
		if rest := w.query(t, `SELECT state FROM sandboxes WHERE state IN ('making', 'removing')`); len(rest) > 0 {
			return fmt.Errorf("some are %q", rest)
		}
		if fmt.Sprint(agents) != fmt.Sprint(want) {
			return fmt.Errorf("warm: %q, want %q", agents, want)
		}
		return nil
	})
	return ids
}

func TestSessionTakesAWarmSandbox(t *testing.T) {
	w := pooled(t, nil)
	w.ready(t) // now the agent is one that is used
	warm := w.awaitWarm(t, w.agent.ID)
	w.runtime.fail("create", errors.New("not needed"))
	made := w.create(t, session.NewSession{InitialParts: text("x"), Env: map[string]string{"A": "1"}, EnvPlain: []string{"A"}})
	if deref(made.ContainerID) != warm[0] || !strings.Contains(warm[0], made.ID) {
		t.Errorf("session = %+v, warm %v", made, warm)
	}
	s := w.await(t, made.ID, db.StatusReady)
	w.awaitTurns(t, s.ID, "complete x")
	var env string
	w.runtime.do(warm[0], func(b *fakeBox) { env = b.boot.Env["A"] })
	if env != "1" {
		t.Errorf("the session's variable is %q", env)
	}
	w.runtime.fail("create", nil)
	session.Warm(w.Engine)
	if again := w.awaitWarm(t, w.agent.ID); again[0] == warm[0] {
		t.Error("the pool has it still")
	}
}

func TestWarmSandboxThatIsDead(t *testing.T) {
	for _, tt := range losses[:3] {
		t.Run(tt.name, func(t *testing.T) {
			w := pooled(t, nil)
			w.ready(t)
			warm := w.awaitWarm(t, w.agent.ID)
			tt.lose(w.runtime, warm[0])
			s := w.ready(t)
			w.say(t, s.ID, "x")
			w.awaitWarm(t, w.agent.ID)
			w.reconcile(t)
			if ids := w.runtime.ids(); len(ids) != 3 {
				t.Errorf("sandboxes: %v", ids)
			}
		})
	}
}

func TestWarmSandboxThatDiesWhileItIsBooted(t *testing.T) {
	for _, step := range []string{"before post /boot", "boot", "before post /harness/session"} {
		t.Run(step, func(t *testing.T) {
			w := pooled(t, nil)
			w.ready(t)
			w.awaitWarm(t, w.agent.ID)
			w.runtime.on(step, func(_ context.Context, id string) error {
				w.runtime.on(step, nil)
				w.runtime.kill(id, false)
				return errCut
			})
			s := w.ready(t)
			if !strings.HasSuffix(*s.ContainerID, "-1") {
				t.Errorf("its sandbox is %s", *s.ContainerID)
			}
			w.say(t, s.ID, "x")
		})
	}
}

func TestWhatSandboxesAreMadeFromChanges(t *testing.T) {
	w := pooled(t, nil)
	w.ready(t)
	other := w.another(t)
	image := "other:1"
	if _, err := w.store.UpdateAgent(t.Context(), other.ID, func(a *db.Agent) error { a.HarnessImage = &image; return nil }); err != nil {
		t.Fatal(err)
	}
	other.HarnessImage = &image
	if s, _, err := w.Create(t.Context(), other, session.NewSession{}); err != nil {
		t.Fatal(err)
	} else {
		w.await(t, s.ID, db.StatusReady)
	}
	both := []string{w.agent.ID, other.ID}
	if both[0] > both[1] {
		both[0], both[1] = both[1], both[0]
	}
	before := w.awaitWarm(t, both...)
	differ := func(after []string) string {
		n := ""
		for i := range before {
			if before[i] != after[i] {
				n += both[i]
			}
		}
		return n
	}
	prompt := "another prompt"
	if _, err := w.store.UpdateAgent(t.Context(), w.agent.ID, func(a *db.Agent) error { a.Prompt = &prompt; a.Model = "x"; return nil }); err != nil {
		t.Fatal(err)
	}
	w.Changed(w.agent.ID)
	if after := w.awaitWarm(t, both...); differ(after) != "" {
		t.Error("they were made anew for what comes over the pipe")
	}
	w.runtime.set(func() { w.runtime.images[image] = "sha256:new" })
	w.Changed(other.ID)
	var after []string
	eventually(t, func() error {
		if after = w.awaitWarm(t, both...); differ(after) != other.ID {
			return fmt.Errorf("made anew: %q, want %q", differ(after), other.ID)
		}
		return nil
	})
	w.runtime.set(func() { w.runtime.build = "build-2" })
	w.Changed("")
	eventually(t, func() error {
		if after = w.awaitWarm(t, both...); differ(after) != both[0]+both[1] {
			return fmt.Errorf("made anew: %q, want both", differ(after))
		}
		return nil
	})
}

func TestWarmSandboxIsNotKeptForEver(t *testing.T) {
	w := pooled(t, func(c *session.PoolConfig) { c.TTL = 50 * time.Millisecond })
	w.ready(t)
	first := w.awaitWarm(t, w.agent.ID)
	eventually(t, func() error {
		session.Warm(w.Engine)
		if now := w.awaitWarm(t, w.agent.ID); now[0] == first[0] {
			return errors.New("it is the same")
		}
		return nil
	})
}

func TestPoolHasWhatFits(t *testing.T) {
	w := pooled(t, func(c *session.PoolConfig) { c.Size, c.Memory = 10, 24<<20*3/2 })
	other := w.another(t)
	w.ready(t)
	w.awaitWarm(t, w.agent.ID)
	if _, _, err := w.Create(t.Context(), other, session.NewSession{}); err != nil { // it takes the warm one
		t.Fatal(err)
	}
	w.awaitWarm(t, other.ID) // the newest goes before
}

func TestPriorityAgentHasItsOwnBudget(t *testing.T) {
	w := newWorld(t, nil)
	first := w.agent
	w.stop()
	w.config.Pool = session.PoolConfig{Size: 1, MaxProvisioning: 1, TTL: time.Hour, Recent: time.Hour, PriorityAgent: first.ID, PrioritySize: 2}
	w.start(t)
	w.awaitWarm(t, first.ID, first.ID)
	other := w.another(t)
	w.agent = other
	s := w.ready(t) // with one of the others', which is like its own
	if !strings.HasSuffix(*s.ContainerID, "-0") {
		t.Errorf("its sandbox is %s", *s.ContainerID)
	}
	want := []string{first.ID, first.ID, other.ID}
	if other.ID < first.ID {
		want = []string{other.ID, first.ID, first.ID}
	}
	w.awaitWarm(t, want...)
	// Its own is taken first.
	s = w.ready(t)
	w.awaitWarm(t, want...)
	if rows := w.query(t, `SELECT agent_id FROM sandboxes WHERE session_id = ?`, s.ID); rows[0] != other.ID {
		t.Errorf("the sandbox is agent %s's", rows[0])
	}
}

func TestPoolGoesWithItsAgent(t *testing.T) {
	w := pooled(t, nil)
	w.ready(t)
	w.awaitWarm(t, w.agent.ID)
	entered, release := w.runtime.hold("after create")
	defer release()
	w.create(t, session.NewSession{}) // takes the warm one, and another is begun
	receive(t, entered)
	done := make(chan error, 1)
	go func() { done <- w.DeleteAgent(t.Context(), w.agent.ID) }()
	if err := receive(t, done); err != nil {
		t.Fatal(err)
	}
	release()
	eventually(t, func() error {
		if ids := w.runtime.ids(); len(ids) != 0 {
			return fmt.Errorf("sandboxes: %v", ids)
		}
		return nil
	})
}

func TestStopEmptiesThePool(t *testing.T) {
	w := pooled(t, nil)
	s := w.ready(t)
	w.awaitWarm(t, w.agent.ID)
	w.stop()
	if ids := w.runtime.ids(); fmt.Sprint(ids) != "["+*s.ContainerID+"]" {
		t.Errorf("sandboxes: %v", ids)
	}
}

func TestCrashLeavesThePoolToTheNextProcess(t *testing.T) {
	w := pooled(t, nil)
	s := w.ready(t)
	w.awaitWarm(t, w.agent.ID)
	w.runtime.fail("remove", errors.New("as if it had crashed"))
	w.stop()
	w.runtime.fail("remove", nil)
	w.config.Pool.Size = 0
	w.start(t)
	w.reconcile(t)
	if ids := w.runtime.ids(); fmt.Sprint(ids) != "["+*s.ContainerID+"]" {
		t.Errorf("sandboxes: %v", ids)
	}
}

func TestWarmSandboxesThatCannotBeMade(t *testing.T) {
	w := pooled(t, nil)
	w.runtime.on("before create", func(_ context.Context, id string) error {
		if strings.HasSuffix(id, "-0") {
			return errors.New("no room")
		}
		return nil
	})
	s := w.ready(t)
	w.say(t, s.ID, "x")
	eventually(t, func() error {
		if w.runtime.called("image") < 2 {
			return errors.New("it is not tried")
		}
		return nil
	})
	w.awaitWarm(t)
	if d := w.Diagnose(t.Context(), s); d.Warm["warm"] != 0 || d.PoolSize != 2 {
		t.Errorf("diagnosis = %+v", d)
	}
	w.runtime.on("before create", nil)
	session.Warm(w.Engine)
	w.awaitWarm(t, w.agent.ID)
	if d := w.Diagnose(t.Context(), s); d.Warm["warm"] != 1 {
		t.Errorf("diagnosis = %+v", d)
	}
}

func TestManySessionsOverOnePool(t *testing.T) {
	w := pooled(t, func(c *session.PoolConfig) { c.Size = 3 })
	w.ready(t)
	w.awaitWarm(t, w.agent.ID)
	var ids []string
	for range 20 {
		ids = append(ids, w.create(t, session.NewSession{}).ID)
	}
	boxes := map[string]bool{}
	for _, id := range ids {
		s := w.await(t, id, db.StatusReady)
		if boxes[*s.ContainerID] {
			t.Errorf("two sessions have %s", *s.ContainerID)
		}
		boxes[*s.ContainerID] = true
	}
	w.awaitWarm(t, w.agent.ID)
}
