package db_test

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
	"SCAN sandboxes":                        "all sandboxes there are, which are few",
	"SCAN turns USING INDEX turns_open":     "all open turns there are",
	"SCAN CONSTANT ROW":                     "no table",
	"SCAN json_each VIRTUAL TABLE INDEX 1:": "a list in a parameter or column",
	"SCAN wanted VIRTUAL TABLE INDEX 1:":    "a list in a parameter",
	"SCAN given VIRTUAL TABLE INDEX 1:":     "a list in a column",
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
		if slices.Contains([]string{"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"}, strings.Fields(text)[0]) {
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
	for _, name := range []string{"CreateAgent", "CreateSkill", "CreateMemory", "Close"} {
		called[name] = true
	}
	for _, name := range []string{"Statements", "Plan", "Lines", "SetEnvColumn", "Tx", "Queued"} { // of export_test.go
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
	callUsage(call, agent.ID, session.ID)
	call("DeleteMemory", agent.ID, memory.ID)
	call("DeleteSkill", skill.ID)
	call("DeleteAgent", agent.ID)
	call("Reset")
	return called
}

func callSessions(call func(name string, args ...any), agentID string, s db.Session) {
	call("Session", s.ID)
	call("SessionState", s.ID)
	for _, q := range []db.SessionQuery{{}, {AgentID: &agentID}, {Statuses: []string{"ready"}}, {AgentID: &agentID, Statuses: []string{"ready"}}} {
		q.Limit = 1
		call("Sessions", q)
	}
	call("LiveSessions", "")
	call("LiveSessions", agentID)
	call("SetPhase", s.ID, s.Generation, "phase", "detail", later)
	call("SetProgressToken", s.ID, s.Generation, "hash")
	callSandboxes(call, agentID, s)
	call("MarkReady", s.ID, s.Generation, db.Readiness{})
	call("NoteFailure", s.ID, "reason")
	call("Touch", s.ID)
	callTurns(call, s)
	call("SaveOutput", s.ID, "text")
	call("Output", s.ID)
	call("MarkIdle", s.ID, s.Generation, later)
	call("MarkDead", s.ID, s.Generation, "reason", true)
	call("GiveUp", s.ID, s.Generation)
	call("ClaimSession", s.ID, db.Claim{From: []string{db.StatusDead, db.StatusReady}})
	call("AdoptSandbox", s.ID, s.Generation+1, "container")
	call("MarkFailed", s.ID, s.Generation, "reason")
	call("LostSessions", time.Now())
	call("MarkUnreachable", s.ID, s.Generation, "reason", nil)
	call("SaveThread", s.ID, []db.Message{{ID: "m", Body: []byte(`{}`)}}, []string{"n"})
	call("EndSession", s.ID)
}

func callUsage(call func(name string, args ...any), agentID, sessionID string) {
	call("AddUsage", sessionID, db.Usage{})
	call("SessionSpent", sessionID)
	call("SpentOf", []string{sessionID})
	call("AgentSpent", agentID)
	call("AgentsSpent", []string{agentID})
	call("AppendEgress", make([]db.Egress, 1)) // of no session
	call("AppendEgress", egress(sessionID, db.KeptEgress+1))
	call("Egress", sessionID, 1, 0)
	call("EgressDropped", sessionID)
	call("InterceptionsDropped", sessionID)
	call("AppendInterceptions", interceptions(sessionID, db.KeptInterceptions+1))
	call("Interceptions", sessionID, 1, 0)
}

func callSandboxes(call func(name string, args ...any), agentID string, s db.Session) {
	key := "key"
	call("PlanSandbox", db.Sandbox{Name: "box", SessionID: s.ID, AgentID: agentID, Generation: s.Generation})
	call("PlanSandbox", db.Sandbox{Name: "warm", SessionID: "w", AgentID: agentID, Generation: 1, WarmKey: &key})
	call("SandboxMade", "box", "container")
	call("SandboxReady", "warm")
	call("Freeze", s.ID, "container", later)
	call("Thaw", s.ID, "container")
	call("AdoptSandbox", s.ID, s.Generation, "container")
	call("CreateSession", db.NewSession{AgentID: agentID, WarmKey: key, Once: once("k", "h")})
	call("CondemnSandbox", "warm")
	call("CondemnWarm", agentID)
	call("CondemnWarmOne", "name")
	call("ForgetSandbox", "warm")
	call("Sandboxes")
	call("SessionSandboxes", s.ID)
	call("RecentAgents", later, 1)
}

func callTurns(call func(name string, args ...any), s db.Session) {
	parts := []byte(`[]`)
	for seq := range int64(3) {
		call("AddTurn", s.ID, db.NewTurn{Parts: parts, Once: once(strconv.FormatInt(seq, 10), "h")})
		call("SendTurn", s.ID, s.Generation, seq)
		if seq == 0 {
			call("UnsendTurn", s.ID, seq)
			call("CancelTurn", s.ID, seq, "reason")
			call("EndTurn", s.ID, seq, db.TurnFailed, "reason")
		}
		call("Append", db.Batch{
			SessionID: s.ID, Generation: s.Generation, Events: append(events("x"), deltas("a", "b")...),
			Messages: []db.Message{{ID: "m", Body: parts}}, Removed: []string{"n"},
			Ends: []db.TurnEnd{{Seq: 1, Status: db.TurnComplete, Reply: parts}, {Seq: 2, Status: db.TurnFailed}},
		})
	}
	call("Append", db.Batch{SessionID: s.ID, Generation: s.Generation, Events: []db.NewEvent{
		toolFrame("t", "running", "a"), toolFrame("t", "running", "ab"), toolFrame("t", "completed", "ab"),
	}})
	call("Append", db.Batch{SessionID: s.ID, Generation: s.Generation, After: 99})
	call("Events", s.ID, int64(0), 10)
	call("PackEvents", s.ID, int64(0), int64(100))
	call("Turn", s.ID, int64(0))
	call("NextTurn", s.ID)
	call("LastSentTurn", s.ID)
	call("Turns", s.ID)
	call("BusySessions")
	call("Message", s.ID, "m")
	call("Messages", s.ID)
}
