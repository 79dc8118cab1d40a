package api_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lists returns the paths of all lists, each filled with n rows.
func lists(t *testing.T, w *world, n int) []string {
	t.Helper()
	var agent, session string
	for range n {
		agent = w.newAgent(t)
	}
	for range n {
		session = w.newSession(t, agent)
		w.newSkill(t, "s", "c")
		w.do(t, "POST", agents+"/"+agent+"/memory", `{"text": "t"}`).want(t, 201)
	}
	w.engine.answer(nil, nil)
	for i := range n {
		w.engine.thread = append(w.engine.thread, fmt.Appendf(nil, `{"id":"m%d"}`, i))
	}
	return []string{agents, sessions, skills, agents + "/" + agent + "/memory", sessions + "/" + session + "/messages"}
}

func TestPages(t *testing.T) {
	const n = 7
	w := newWorld(t)
	queries := []struct {
		query         string
		limit, offset int64
		rows          int64
	}{
		{"", 50, 0, n},
		{"?limit=0", 1, 0, 1},
		{"?limit=-3", 1, 0, 1},
		{"?limit=999", 200, 0, n},
		{"?limit=200", 200, 0, n},
		{"?limit=99999999999999999999", 200, 0, n},
		{"?limit=-99999999999999999999", 1, 0, 1},
		{"?limit=abc", 50, 0, n},
		{"?limit=", 50, 0, n},
		{"?limit=2.5", 50, 0, n},
		{"?limit=%202", 50, 0, n},
		{"?limit=2", 2, 0, 2},
		{"?offset=-1", 50, 0, n},
		{"?offset=x", 50, 0, n},
		{"?offset=5", 50, 5, 2},
		{"?limit=3&offset=6", 3, 6, 1},
		{"?offset=1000000", 50, 1000000, 0},
	}
	for _, path := range lists(t, w, n) {
		for _, q := range queries {
			r := w.do(t, "GET", path+q.query, nil).want(t, 200)
			got := []int64{r.get("total").Int(), r.get("limit").Int(), r.get("offset").Int(), r.get("data.#").Int()}
			if diff := cmp.Diff([]int64{n, q.limit, q.offset, q.rows}, got); diff != "" || !r.get("data").IsArray() || len(members(t, r)) != 4 {
				t.Errorf("%s%s: %s %s", path, q.query, diff, r.body)
			}
		}
	}
}

func TestPagesAreStable(t *testing.T) {
	w := newWorld(t)
	for _, path := range lists(t, w, 7) {
		whole := w.do(t, "GET", path, nil).get("data.#.id").Array()
		var paged []string
		for offset := 0; offset < 8; offset += 2 {
			for _, id := range w.do(t, "GET", fmt.Sprintf("%s?limit=2&offset=%d", path, offset), nil).get("data.#.id").Array() {
				paged = append(paged, id.String())
			}
		}
		var want []string
		for _, id := range whole {
			want = append(want, id.String())
		}
		if diff := cmp.Diff(want, paged); diff != "" || len(want) != 7 {
			t.Errorf("%s: %s", path, diff)
		}
	}
}
