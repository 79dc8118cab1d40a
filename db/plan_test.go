package db_test

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"lap/db"
)

// scans are the parts of plans that read a whole table or index, and why they may.
var scans = map[string]string{
	"SCAN agents": "the list of agents: counting, searching and sorting by what has no index look at each",
	"SCAN agents USING INDEX agents_by_created":          "the list of agents in order",
	"SCAN skills USING INDEX skills_by_created":          "the list of skills in order",
	"SCAN skills USING COVERING INDEX skills_by_created": "counting skills",
	"SCAN s USING INDEX sessions_by_created":             "the list of sessions in order",
	"SCAN s USING COVERING INDEX sessions_by_created":    "counting sessions",
	"SCAN CONSTANT ROW":                                  "no table",
	"SCAN json_each VIRTUAL TABLE INDEX 1:":              "a list in a parameter or column",
	"SCAN wanted VIRTUAL TABLE INDEX 1:":                 "a list in a parameter",
	"SCAN given VIRTUAL TABLE INDEX 1:":                  "a list in a column",
}

// TestEveryQueryUsesAnIndex calls every method of a store and looks at the plans of all
// statements that this prepares.
func TestEveryQueryUsesAnIndex(t *testing.T) {
	s := openStore(t, config(t))
	calls := callAll(t, s)
	store := reflect.TypeFor[*db.Store]()
	for method := range store.Methods() {
		if !calls[method.Name] {
			t.Errorf("Store.%s is not called: add it to callAll, so that its queries are checked", method.Name)
		}
	}
	statements := s.Statements()
	if len(statements) < 40 {
		t.Fatalf("only %d statements", len(statements))
	}
	unused := maps.Clone(scans)
	for _, text := range statements {
		if strings.HasPrefix(text, "BEGIN") || text == "COMMIT" || text == "ROLLBACK" {
			continue
		}
		plan, err := s.Plan(t.Context(), text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		for _, step := range plan {
			if strings.HasPrefix(step, "SCAN ") && scans[step] == "" {
				t.Errorf("%q in the plan of %s", step, text)
			}
			delete(unused, step)
		}
	}
	for step := range unused {
		t.Errorf("no plan has %q any more", step)
	}
}

// callAll calls every method once with each kind of argument that makes another query,
// and returns the names of the methods. What they return does not matter here.
func callAll(t *testing.T, s *db.Store) map[string]bool {
	t.Helper()
	called := map[string]bool{}
	call := func(name string, args ...any) {
		t.Helper()
		called[name] = true
		in := []reflect.Value{reflect.ValueOf(t.Context())}
		method := reflect.ValueOf(s).MethodByName(name)
		if !method.IsValid() || method.Type().NumIn() != len(args)+1 {
			t.Errorf("callAll calls Store.%s as it is no more", name)
			return
		}
		for i, arg := range args {
			if arg == nil {
				in = append(in, reflect.Zero(method.Type().In(i+1)))
				continue
			}
			in = append(in, reflect.ValueOf(arg))
		}
		method.Call(in)
	}
	agent, skill := newAgent(t, s, db.Agent{}), newSkill(t, s, "s", "c")
	memory, session := newMemory(t, s, agent.ID, db.Memory{}), newSession(t, s, agent.ID)
	for _, name := range []string{"CreateAgent", "CreateSkill", "CreateMemory", "CreateSession", "Close"} {
		called[name] = true
	}
	for _, name := range []string{"Statements", "Plan", "Lines", "SetEnvColumn"} { // of export_test.go
		called[name] = true
	}
	call("Ping")
	call("Installation")
	call("Agent", agent.ID)
	call("UpdateAgent", agent.ID, func(*db.Agent) error { return nil })
	for _, sort := range []db.AgentSort{db.SortCreated, db.SortName, db.SortHarness, db.SortSessions} {
		call("Agents", db.AgentQuery{Sort: sort, Limit: 1})
		call("Agents", db.AgentQuery{Sort: sort, Desc: true, Limit: 1})
	}
	call("Skill", skill.ID)
	call("Skills", 1, 0)
	call("SkillsByID", []string{skill.ID})
	call("UpdateSkill", skill.ID, db.SkillChange{Content: new("new")})
	call("SkillVersions", skill.ID, 1)
	call("SkillGiven", agent.ID, skill.ID)
	call("Memory", agent.ID, memory.ID)
	call("UpdateMemory", agent.ID, memory.ID, func(m *db.Memory) error { m.Text = "x"; return nil })
	call("Memories", db.MemoryQuery{AgentID: agent.ID, Limit: 1})
	call("SearchMemories", db.MemoryQuery{AgentID: agent.ID, Text: "x", Limit: 1})
	call("PreloadMemories", agent.ID, 1, 1)
	callSessions(call, agent.ID, session)
	call("DeleteMemory", agent.ID, memory.ID)
	call("DeleteSkill", skill.ID)
	call("DeleteAgent", agent.ID)
	return called
}

func callSessions(call func(name string, args ...any), agentID string, s db.Session) {
	call("Session", s.ID)
	for _, q := range []db.SessionQuery{{}, {AgentID: &agentID}, {Statuses: []string{"ready"}}, {AgentID: &agentID, Statuses: []string{"ready"}}} {
		q.Limit = 1
		call("Sessions", q)
	}
	call("LiveSessions", "")
	call("LiveSessions", agentID)
	call("SetPhase", s.ID, s.Generation, "phase", "detail")
	call("SetContainer", s.ID, s.Generation, "container")
	call("MarkReady", s.ID, s.Generation, "harness")
	call("NoteFailure", s.ID, "reason")
	parts := []byte(`[]`)
	call("BeginTurn", s.ID, parts, "preview")
	call("CompleteTurn", s.ID, int64(0), parts, parts)
	call("SaveMessages", s.ID, []db.Message{{ID: "m", Body: parts}})
	call("FailTurn", s.ID, int64(0))
	call("Messages", s.ID)
	call("MarkFailed", s.ID, s.Generation, "reason")
	call("MarkLost", s.ID, s.Generation, "reason")
	call("EndSession", s.ID)
}
