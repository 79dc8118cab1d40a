//go:build linux

package guest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lap/sandbox"
)

// feedTest is a feed with short forms of what goes in and comes out.
type feedTest struct {
	*feed
	t *testing.T
}

func newFeedTest(t *testing.T) feedTest {
	t.Helper()
	return feedTest{newFeed(newJournal()), t}
}

func (f feedTest) delta(part, text string) {
	f.event(event(f.t, fmt.Sprintf(`{"id":"e","type":"message.part.delta","properties":{"sessionID":"s","partID":%q,"field":"text","delta":"%s","x":1}}`, part, text)))
}

func (f feedTest) tool(part, output string) {
	f.event(event(f.t, fmt.Sprintf(`{"type":"message.part.updated","properties":{"part":{"id":%q,"type":"tool","state":{"status":"running","output":%q}}}}`, part, output)))
}

func (f feedTest) say(kind, session string) {
	f.event(event(f.t, fmt.Sprintf(`{"type":%q,"properties":{"sessionID":%q}}`, kind, session)))
}

func (f feedTest) busy() {
	f.event(event(f.t, `{"type":"session.status","properties":{"sessionID":"s","status":{"type":"busy"}}}`))
}

// want compares the journal in short with want.
func (f feedTest) want(want ...string) {
	f.t.Helper()
	var got []string
	for _, e := range entries(f.t, f.journal, 0) {
		got = append(got, short(f.t, e))
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("journal:\n %s\nwant:\n %s", strings.Join(got, "\n "), strings.Join(want, "\n "))
	}
}

// short is an entry in short.
func short(t *testing.T, e sandbox.Entry) string {
	t.Helper()
	switch {
	case e.Turn != nil:
		return "result " + e.Turn.ID
	case e.Log != "":
		return "log " + e.Log
	case e.Lost > 0:
		return fmt.Sprint("lost ", e.Lost)
	}
	var v struct {
		Type       string
		Properties struct {
			SessionID, PartID, Delta string
			X                        int
			Part                     struct{ State struct{ Output string } }
		}
	}
	if err := json.Unmarshal(e.Event, &v); err != nil {
		t.Fatal(err)
	}
	switch p := v.Properties; v.Type {
	case deltaEvent:
		return fmt.Sprintf("delta %s %s %d", p.PartID, p.Delta, p.X)
	case partEvent:
		return "tool " + p.Part.State.Output
	default:
		return v.Type + " " + p.SessionID
	}
}

func TestFeedMergesDeltas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeedTest(t)
		f.delta("p", "a")
		f.want("delta p a 1") // at once
		for _, text := range []string{"b", `\ud83d`, `\ude00`, `\"`} {
			time.Sleep(5 * time.Millisecond)
			f.delta("p", text)
		}
		f.want("delta p a 1")
		time.Sleep(deltaWindow - 15*time.Millisecond)
		synctest.Wait()
		f.want("delta p a 1", `delta p b😀" 1`)
		f.delta("p", "c")
		f.delta("q", "d") // another part: at once, and what waits before it
		f.want("delta p a 1", `delta p b😀" 1`, "delta p c 1", "delta q d 1")
		f.delta("q", "e")
		f.log("x")
		f.want("delta p a 1", `delta p b😀" 1`, "delta p c 1", "delta q d 1", "delta q e 1", "log x")
		time.Sleep(deltaWindow + time.Millisecond)
		f.delta("q", "f")
		f.want("delta p a 1", `delta p b😀" 1`, "delta p c 1", "delta q d 1", "delta q e 1", "log x", "delta q f 1")
	})
}

func TestFeedBoundsMergedDeltas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeedTest(t)
		piece := strings.Repeat("x", maxDelta/2-1)
		for range 6 {
			f.delta("p", piece)
		}
		f.say("other", "s")
		f.want("delta p "+piece+" 1", "delta p "+piece+piece+" 1", "delta p "+piece+piece+" 1", "delta p "+piece+" 1", "other s")
	})
}

func TestFeedKeepsTheNewestStateOfATool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeedTest(t)
		for i := range 4 {
			f.tool("p", fmt.Sprint(i))
			time.Sleep(90 * time.Millisecond)
		}
		synctest.Wait()
		f.want("tool 0", "tool 3") // 1 came at 90 ms and left at 290 as 3
		f.tool("p", "4")
		f.tool("p", "5")
		f.say("other", "s")
		f.want("tool 0", "tool 3", "tool 5", "other s")
	})
}

func TestFeedPutsTheResultBeforeIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeedTest(t)
		f.begin("s")
		f.busy()
		f.say(idleEvent, "other")
		f.say(idleEvent, "s")
		f.delta("p", "a")
		f.log("x")
		f.want("session.status s", "session.idle other", "log x")
		f.finish("s", sandbox.TurnResult{ID: "t1"})
		f.want("session.status s", "session.idle other", "log x", "result t1", "session.idle s", "delta p a 1")
	})
}

func TestFeedDoesNotWaitAfterTheResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeedTest(t)
		f.begin("s")
		f.begin("s")
		f.busy()
		f.finish("s", sandbox.TurnResult{ID: "t1"})
		f.say(idleEvent, "s")
		f.busy()
		f.want("session.status s", "result t1", "session.idle s", "session.status s")
		f.say(idleEvent, "s")
		f.want("session.status s", "result t1", "session.idle s", "session.status s")
		f.finish("s", sandbox.TurnResult{ID: "t2"})
		f.want("session.status s", "result t1", "session.idle s", "session.status s", "result t2", "session.idle s")
	})
}

func TestFeedWaitsAgainAfterATurnWithoutIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeedTest(t)
		f.begin("s")
		f.finish("s", sandbox.TurnResult{ID: "t1"})
		f.begin("s")
		f.busy()
		f.say(idleEvent, "s")
		f.finish("s", sandbox.TurnResult{ID: "t2"})
		f.want("result t1", "session.status s", "result t2", "session.idle s")
	})
}

func TestFeedHasPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeedTest(t)
		f.begin("s")
		f.begin("u")
		f.say(idleEvent, "s")
		f.say(idleEvent, "u")
		f.say("other", "s")
		time.Sleep(resultPatience - time.Millisecond)
		f.want()
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		f.want("session.idle s") // the next one waits on its own
		f.finish("u", sandbox.TurnResult{ID: "t"})
		f.want("session.idle s", "result t", "session.idle u", "other s")
	})
}

func TestFeedBoundsWhatWaits(t *testing.T) {
	f := newFeedTest(t)
	f.begin("s")
	f.say(idleEvent, "s")
	for range 5 {
		f.event(event(t, `{"type":"x","properties":{"sessionID":"`+strings.Repeat("x", backlogLimit/4)+`"}}`))
	}
	if got := entries(t, f.journal, 0); len(got) != 6 {
		t.Errorf("%d entries", len(got))
	}
}

func TestParseFrame(t *testing.T) {
	for _, text := range []string{"", "[]", "null", `"x"`, "{}", `{"type":1}`, `{"type":"x"`, `{"type":"x"} x`} {
		if f, err := parseFrame([]byte(text)); err == nil {
			t.Errorf("%q is a frame: %+v", text, f)
		}
	}
	for text, want := range map[string]string{
		"{\n\"type\":\n \"x y\"}":                                      `{"type":"x y"}`,
		`{"type":"x","properties":[1]}`:                                `{"type":"x","properties":[1]}`,
		"{\"type\":\"x\xff\"}":                                         "{\"type\":\"x\uFFFD\"}",
		`{"type":"x","properties":{"status":5,"part":"s","delta":{}}}`: `{"type":"x","properties":{"status":5,"part":"s","delta":{}}}`,
	} {
		if f, err := parseFrame([]byte(text)); err != nil || string(f.raw) != want {
			t.Errorf("%q: %s, %v", text, f.raw, err)
		}
	}
	for _, text := range []string{
		`{"type":"message.part.delta","properties":{"delta":5}}`,
		`{"type":"message.part.delta","properties":{"delta":"a","delta":"b"}}`,
		`{"type":"message.part.delta"}`,
	} {
		if f, err := parseFrame([]byte(text)); err != nil || f.key != "" {
			t.Errorf("%q: %+v, %v", text, f, err)
		}
	}
}
