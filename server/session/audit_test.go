package session_test

import (
	"fmt"
	"strings"
	"testing"
)

// audit makes the database write down each step of a session, of a turn and of a sandbox.
func (w *world) audit(tb testing.TB) {
	tb.Helper()
	_, err := w.file.ExecContext(tb.Context(), strings.Join([]string{
		`CREATE TABLE audit (n INTEGER PRIMARY KEY, id TEXT, was TEXT, now TEXT, was_generation INTEGER, generation INTEGER, revivable INTEGER, boxed INTEGER)`,
		`CREATE TABLE audit_turns (n INTEGER PRIMARY KEY, id TEXT, seq INTEGER, was TEXT, now TEXT)`,
		`CREATE TABLE audit_boxes (n INTEGER PRIMARY KEY, name TEXT, what TEXT)`,
		`CREATE TRIGGER audit_new AFTER INSERT ON sessions BEGIN
			INSERT INTO audit (id, was, now, was_generation, generation) VALUES (new.id, 'none', new.status, 0, new.generation); END`,
		`CREATE TRIGGER audit_step AFTER UPDATE ON sessions WHEN old.status <> new.status OR old.generation <> new.generation BEGIN
			INSERT INTO audit (id, was, now, was_generation, generation, revivable, boxed) VALUES (new.id, old.status, new.status, old.generation, new.generation, old.revivable,
			EXISTS (SELECT 1 FROM sandboxes WHERE session_id = new.id AND state = 'owned' AND container_id = new.container_id)); END`,
		`CREATE TRIGGER audit_turn_new AFTER INSERT ON turns BEGIN
			INSERT INTO audit_turns (id, seq, was, now) VALUES (new.session_id, new.seq, 'none', new.status); END`,
		`CREATE TRIGGER audit_turn AFTER UPDATE ON turns WHEN old.status <> new.status BEGIN
			INSERT INTO audit_turns (id, seq, was, now) VALUES (new.session_id, new.seq, old.status, new.status); END`,
		`CREATE TRIGGER audit_box AFTER UPDATE ON sandboxes WHEN new.state = 'removing' AND old.state <> 'removing'
			AND EXISTS (SELECT 1 FROM sessions WHERE id = new.session_id AND status = 'ready' AND container_id = new.container_id) BEGIN
			INSERT INTO audit_boxes (name, what) VALUES (new.name, 'condemned while its session is ready'); END`,
		`CREATE TRIGGER audit_box_gone BEFORE DELETE ON sandboxes WHEN old.state <> 'removing' BEGIN
			INSERT INTO audit_boxes (name, what) VALUES (old.name, 'forgotten while ' || old.state); END`,
	}, ";"))
	if err != nil {
		tb.Fatal(err)
	}
}

// steps that a session may take, and that a turn may, as "from to".
const (
	sessionSteps = "none creating,creating ready,creating failed,creating dead,creating creating,ready dead,ready creating," +
		"failed creating,dead creating,failed dead"
	turnSteps = "none queued,queued running,running queued,queued failed,running complete,running failed,running interrupted"
)

// checkAudit checks what was written down.
func (w *world) checkAudit(tb testing.TB) {
	tb.Helper()
	allowed := func(steps, was, now string) bool {
		return strings.Contains(","+steps+",", ","+was+" "+now+",")
	}
	for _, line := range w.query(tb, `SELECT id, was, now, was_generation, generation, boxed FROM audit ORDER BY n`) {
		var id, was, now string
		var before, generation, boxed int
		if _, err := fmt.Sscan(line+" 0", &id, &was, &now, &before, &generation, &boxed); err != nil {
			tb.Fatalf("%s: %v", line, err)
		}
		if !allowed(sessionSteps, was, now) {
			tb.Errorf("session %s went from %s to %s", id, was, now)
		}
		grown := 0
		if now == "creating" {
			grown = 1
		}
		if generation != before+grown {
			tb.Errorf("session %s went from %s to %s and generation %d to %d", id, was, now, before, generation)
		}
		if now == "ready" && boxed != 1 {
			tb.Errorf("session %s is ready without a sandbox", id)
		}
	}
	for _, line := range w.query(tb, `SELECT id || '/' || seq, was, now FROM audit_turns ORDER BY n`) {
		var id, was, now string
		if _, err := fmt.Sscan(line, &id, &was, &now); err != nil {
			tb.Fatalf("%s: %v", line, err)
		}
		if !allowed(turnSteps, was, now) {
			tb.Errorf("turn %s went from %s to %s", id, was, now)
		}
	}
	for _, line := range w.query(tb, `SELECT name, what FROM audit_boxes`) {
		tb.Errorf("sandbox %s", line)
	}
	for _, line := range w.query(tb, `SELECT s.id, s.last_event, coalesce(sum(e.length), 0), coalesce(max(e.seq), 0) FROM sessions s
		LEFT JOIN events e ON e.session_id = s.id GROUP BY s.id HAVING s.last_event <> coalesce(sum(e.length), 0) OR s.last_event <> coalesce(max(e.seq), 0)`) {
		tb.Errorf("log of session %s: newest, count, highest", line)
	}
	seen := map[string]int{}
	for _, s := range w.runtime.seen {
		if seen[s.session+"/"+s.turn]++; seen[s.session+"/"+s.turn] > 1 {
			tb.Errorf("turn %s of session %s was given to a harness %d times", s.turn, s.session, seen[s.session+"/"+s.turn])
		}
	}
}
