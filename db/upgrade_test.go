package db_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lap/db"
)

// oldRows fill a file of version 1. What a session has of it tells its name.
const oldRows = `
INSERT INTO meta VALUES ('installation', 'i');
INSERT INTO agents VALUES ('a', NULL, 'gpt', NULL, 'lap', NULL, NULL, 'main', NULL, '[]', '[]', '[]', '[]', '{}', '[]', '{}', NULL, '[]', 10, 'ui', 1);
INSERT INTO sessions VALUES
  ('ready',    'a', 'm', 't', 'p', 'ready',    2, 'ready', NULL, 'c1', 'h1', 'noted', '["k"]', '["A"]', '["A"]', '["w"]', 100, 110, 120, NULL, '{"parts":[]}', '{"info":{},"parts":["long"]}'),
  ('creating', 'a', 'm', NULL, NULL, 'creating', 1, 'pod_pending', 'd', NULL, NULL, NULL, '[]', '[]', '[]', '[]', 200, 210, NULL, NULL, NULL, NULL),
  ('starting', 'a', 'm', NULL, NULL, 'creating', 3, 'pod_running', NULL, 'c3', NULL, NULL, '[]', '[]', '[]', '[]', 300, 310, NULL, NULL, NULL, NULL),
  ('failed',   'a', 'm', NULL, NULL, 'failed',   1, 'pod_pending', NULL, NULL, NULL, 'why', '[]', '[]', '[]', '[]', 400, 410, NULL, 420, NULL, NULL),
  ('dead',     'a', 'm', NULL, NULL, 'dead',     1, 'ready', NULL, 'c5', 'h5', NULL, '[]', '[]', '[]', '[]', 500, 510, 520, 530, NULL, '{}'),
  ('never',    'a', 'm', NULL, NULL, 'dead',     1, NULL, NULL, NULL, NULL, NULL, '[]', '[]', '[]', '[]', 600, 610, NULL, 630, NULL, NULL);
INSERT INTO turns VALUES
  ('ready', 0, 'user',      'complete', '["u0"]', 'h0', 1000, 1010),
  ('ready', 1, 'assistant', 'complete', '["a1"]', 'h0', 1010, 1010),
  ('ready', 2, 'user',      'failed',   '["u2"]', 'h1', 1020, 1030),
  ('ready', 3, 'user',      'complete', '["u3"]', 'h1', 1040, 1060),
  ('ready', 4, 'user',      'pending',  '["u4"]', 'h1', 1050, NULL),
  ('ready', 5, 'assistant', 'complete', '["a5"]', 'h1', 1060, 1060),
  ('ready', 6, 'user',      'complete', '["u6"]', 'h1', 1070, 1080),
  ('dead',  0, 'user',      'complete', '["u"]',  NULL, 2000, 2010),
  ('dead',  1, 'assistant', 'complete', '["a"]',  NULL, 2010, 2010);
INSERT INTO messages VALUES ('ready', 0, 'm0', '{"a":1}'), ('ready', 1, 'm1', '{"b":2}'), ('dead', 0, 'm0', '{"c":3}');
INSERT INTO skills VALUES ('k', 'n', NULL, 'c', 1);
INSERT INTO skill_versions VALUES ('k', 1, 'before', NULL, 2);
INSERT INTO memories VALUES ('y', 'a', 'text', '[]', 'note', 1, 0, 0, 0, NULL, 'ui', NULL, NULL, NULL, 1, 1);
`

// openOld opens a file of version 1 with the given rows in it, and so upgrades it.
func openOld(t *testing.T, rows string) *db.Store {
	t.Helper()
	first, err := os.ReadFile(firstSchema)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	if err := db.Upgrade(t.Context(), cfg.Path, string(first), fstest.MapFS{}); err != nil {
		t.Fatal(err)
	}
	if err := db.Exec(t.Context(), cfg.Path, rows); err != nil {
		t.Fatal(err)
	}
	return openStore(t, cfg)
}

func TestUpgradeKeepsSessions(t *testing.T) {
	began := time.Now().Add(-time.Second)
	s := openOld(t, oldRows)
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	ptr := func(ms int64) *time.Time { return new(at(ms)) }
	base := db.Session{
		AgentID: "a", HarnessID: "lap", Model: "m", Generation: 1, SkillIDs: []string{}, EnvNames: []string{}, EnvPlain: []string{}, Warnings: []string{},
	}
	with := func(id string, edit func(*db.Session)) db.Session {
		s := base
		s.ID = id
		edit(&s)
		return s
	}
	const failure = "lap was upgraded during bring-up: create the session again"
	want := []db.Session{
		with("ready", func(s *db.Session) {
			s.Title, s.TitlePreview, s.Status, s.Generation, s.Revivable = new("t"), new("p"), db.StatusDead, 2, true
			s.Phase, s.HarnessSessionID, s.FailureReason = new("ready"), new("h1"), new("lap was upgraded")
			s.SkillIDs, s.EnvNames, s.EnvPlain, s.Warnings = []string{"k"}, []string{"A"}, []string{"A"}, []string{"w"}
			s.CreatedAt, s.CreatingSince, s.LastSeenAt = at(100), at(110), ptr(120)
			s.Response = []byte(`{"info":{},"parts":["long"]}`)
		}),
		with("creating", func(s *db.Session) {
			s.Status, s.Phase, s.PhaseDetail, s.FailureReason = db.StatusFailed, new("pod_pending"), new("d"), new(failure)
			s.CreatedAt, s.CreatingSince = at(200), at(210)
		}),
		with("starting", func(s *db.Session) {
			s.Status, s.Generation, s.Phase, s.FailureReason = db.StatusFailed, 3, new("pod_running"), new(failure)
			s.CreatedAt, s.CreatingSince = at(300), at(310)
		}),
		with("failed", func(s *db.Session) {
			s.Status, s.Phase, s.FailureReason = db.StatusFailed, new("pod_pending"), new("why")
			s.CreatedAt, s.CreatingSince, s.StoppedAt = at(400), at(410), ptr(420)
		}),
		with("dead", func(s *db.Session) {
			s.Status, s.Phase, s.HarnessSessionID, s.Response = db.StatusDead, new("ready"), new("h5"), []byte(`{}`)
			s.CreatedAt, s.CreatingSince, s.LastSeenAt, s.StoppedAt = at(500), at(510), ptr(520), ptr(530)
		}),
		with("never", func(s *db.Session) {
			s.Status, s.CreatedAt, s.CreatingSince, s.StoppedAt = db.StatusDead, at(600), at(610), ptr(630)
		}),
	}
	for _, w := range want {
		got := readSession(t, s, w.ID)
		if w.StoppedAt == nil && got.StoppedAt != nil && got.StoppedAt.After(began) && got.StoppedAt.Before(time.Now().Add(time.Second)) {
			w.StoppedAt = got.StoppedAt // it ended by the upgrade
		}
		if diff := cmp.Diff(w, got); diff != "" {
			t.Errorf("%s: %s", w.ID, diff)
		}
		all := wholeSession(t, s, w.ID)
		checkInvariants(t, all)
	}
	rows, total, err := s.Sessions(t.Context(), db.SessionQuery{Limit: 9})
	if err != nil || total != len(want) || string(rows[5].Response) != `{"parts":[]}` {
		t.Errorf("%d sessions, %v; the oldest has the response %s", total, err, rows[5].Response)
	}
}

func TestUpgradeConvertsTurns(t *testing.T) {
	s := openOld(t, oldRows)
	turn := func(seq int64, status, parts, reply, reason, harness string, created, completed int64) db.Turn {
		turn := db.Turn{
			SessionID: "ready", Seq: seq, Status: status, Parts: []byte(parts), HarnessSessionID: &harness,
			CreatedAt: time.UnixMilli(created).UTC(), DeadlineAt: time.UnixMilli(created).UTC(), SentAt: new(time.UnixMilli(created).UTC()),
		}
		if reply != "" {
			turn.Reply = []byte(reply)
		}
		if reason != "" {
			turn.Error = &reason
		}
		if completed > 0 {
			turn.CompletedAt = new(time.UnixMilli(completed).UTC())
		}
		return turn
	}
	want := []db.Turn{
		turn(0, db.TurnComplete, `["u0"]`, `{"parts":["a1"]}`, "", "h0", 1000, 1010),
		turn(1, db.TurnFailed, `["u2"]`, "", "the turn failed", "h1", 1020, 1030),
		turn(2, db.TurnComplete, `["u3"]`, `{"parts":["a5"]}`, "", "h1", 1040, 1060),
		turn(3, db.TurnInterrupted, `["u4"]`, "", "lap was upgraded", "h1", 1050, 0),
		turn(4, db.TurnComplete, `["u6"]`, `{"parts":[]}`, "", "h1", 1070, 1080),
	}
	got, err := s.Turns(t.Context(), "ready")
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d turns, %v", len(got), err)
	}
	want[3].CompletedAt = got[3].CompletedAt // by the upgrade
	if diff := cmp.Diff(want, got); diff != "" || got[3].CompletedAt == nil {
		t.Error(diff)
	}
	if other, err := s.Turns(t.Context(), "dead"); err != nil || len(other) != 1 || string(other[0].Reply) != `{"parts":["a"]}` {
		t.Errorf("of another session: %+v, %v", other, err)
	}
	if busy, err := s.BusySessions(t.Context()); err != nil || len(busy) != 0 {
		t.Errorf("busy = %v, %v", busy, err)
	}
}

func TestUpgradeKeepsTheRest(t *testing.T) {
	s := openOld(t, oldRows)
	for id, want := range map[string]string{"ready": `{"a":1} {"b":2}`, "dead": `{"c":3}`, "failed": ""} {
		thread, err := s.Messages(t.Context(), id)
		var got []string
		for _, body := range thread {
			got = append(got, string(body.Body))
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("thread of %s = %s, %v", id, got, err)
		}
	}
	box := func(session string, generation int64, container *string, created int64) db.Sandbox {
		return db.Sandbox{
			Name: "lap-" + session + "-" + string(rune('0'+generation)), SessionID: session, AgentID: "a", Generation: generation,
			State: db.SandboxRemoving, ContainerID: container, CreatedAt: time.UnixMilli(created).UTC(),
		}
	}
	want := []db.Sandbox{
		box("creating", 1, nil, 210), box("dead", 1, new("c5"), 510), box("ready", 2, new("c1"), 110), box("starting", 3, new("c3"), 310),
	}
	got, err := s.Sandboxes(t.Context())
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b db.Sandbox) bool { return a.Name < b.Name })); err != nil || diff != "" {
		t.Error(diff, err)
	}
	if id, err := s.Installation(t.Context()); err != nil || id != "i" {
		t.Errorf("installation = %s, %v", id, err)
	}
	if a := readAgent(t, s, "a"); a.Budget != nil || a.DefaultDeny != nil {
		t.Errorf("agent = %+v", a)
	}
	appendEgress(t, s, egress("ready", 1))
	addUsage(t, s, "ready", db.Usage{Calls: 1})
	if spent, err := s.AgentSpent(t.Context(), "a"); err != nil || spent.Turns != 6 || spent.Calls != 1 {
		t.Errorf("spent = %+v, %v", spent, err)
	}
	_, total, err := s.Memories(t.Context(), db.MemoryQuery{AgentID: "a", Limit: 1})
	versions, verr := s.SkillVersions(t.Context(), "k", 9)
	if err != nil || verr != nil || total != 1 || len(versions) != 1 {
		t.Errorf("%d memories, %d versions, %v, %v", total, len(versions), err, verr)
	}
	for _, check := range []string{`SELECT "table" FROM pragma_foreign_key_check`, `SELECT name FROM sqlite_master WHERE name LIKE '%old%' OR sql LIKE '%old%'`} {
		if lines, err := s.Lines(t.Context(), check); err != nil || len(lines) != 0 {
			t.Errorf("%s: %s, %v", check, lines, err)
		}
	}
	if lines, err := s.Lines(t.Context(), `PRAGMA integrity_check`); err != nil || strings.Join(lines, "") != "ok" {
		t.Errorf("%s, %v", lines, err)
	}
}

// TestUpgradedSessionGoesOn brings back what an older lap left, and ends with its agent.
func TestUpgradedSessionGoesOn(t *testing.T) {
	s := openOld(t, oldRows)
	addTurn(t, s, "ready")
	claimed, err := s.ClaimSession(t.Context(), "ready", db.Claim{From: []string{db.StatusDead}, Lost: true, Deadline: later})
	if err != nil || claimed.ContainerID != nil || claimed.Generation != 3 {
		t.Fatalf("claimed = %+v, %v", claimed, err)
	}
	markReady(t, s, claimed)
	next, err := s.NextTurn(t.Context(), "ready")
	if err != nil || next.Seq != 5 {
		t.Fatalf("next turn = %+v, %v", next, err)
	}
	if _, err := s.SendTurn(t.Context(), "ready", 3, 5); err != nil {
		t.Fatal(err)
	}
	if last := appendTo(t, s, claimed, events("a")...); last != 1 {
		t.Errorf("the first event has number %d", last)
	}
	if _, err := s.EndSession(t.Context(), "ready"); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAgent(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"sessions", "turns", "events", "messages", "responses"} {
		if lines, err := s.Lines(t.Context(), `SELECT 'a row' FROM `+table); err != nil || len(lines) != 0 {
			t.Errorf("%s: %d rows, %v", table, len(lines), err)
		}
	}
}

func TestUpgradeOfAnEmptyFile(t *testing.T) {
	s := openOld(t, "")
	if list, err := s.Sandboxes(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}
