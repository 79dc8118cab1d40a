package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"lap/sandbox"
	"lap/sandbox/pipe"
)

// A fakeGuest is the guest process of a box. What it has is guarded by runtime.mu.
type fakeGuest struct {
	runtime *fakeRuntime
	box     *fakeBox
	id      string
	server  *http.Server
	pipes   []*pipe.Guest
	ctx     context.Context // ends with the process
	end     context.CancelFunc
	awake   chan struct{} // closed while it is not paused

	boot    *sandbox.Boot // nil: not booted
	turns   map[string]bool
	running map[string]*harnessTurn // by the harness's session
	threads map[string][]*fakeMessage

	entries []fakeEntry
	last    int64 // number of the newest entry
	gone    int64 // entries up to this one are forgotten
	readers int   // how many there were; only the last one reads
	more    chan struct{}
	losing  bool // new entries are lost, as if nobody had read for long
}

// A fakeEntry is an entry of the journal, or a run of lost ones.
type fakeEntry struct {
	n, lost int64
	line    string // from its second member on
}

// newGuest starts the guest of a box. r.mu is held.
func (r *fakeRuntime) newGuest(box *fakeBox) {
	g := &fakeGuest{
		runtime: r, box: box, id: r.id("guest"), awake: make(chan struct{}), more: make(chan struct{}),
		turns: map[string]bool{}, running: map[string]*harnessTurn{}, threads: map[string][]*fakeMessage{},
	}
	close(g.awake)
	g.ctx, g.end = context.WithCancel(context.Background())
	g.server = &http.Server{Handler: g.routes(), ErrorLog: log.New(io.Discard, "", 0)}
	box.guest, box.State = g, sandbox.StateRunning
}

// die ends the process. runtime.mu is held.
func (g *fakeGuest) die() {
	g.end()
	g.cut()
}

// cut ends the pipes. runtime.mu is held.
func (g *fakeGuest) cut() {
	for _, p := range g.pipes {
		_ = p.Close()
	}
	g.pipes = nil
}

// platform asks lap's REST API as the sandbox, whatever it says of itself.
func (g *fakeGuest) platform(claim string) (string, error) {
	conn, err := g.pipes[len(g.pipes)-1].Open(pipe.Platform)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true,
	}}
	res, err := client.Get("http://platform/" + claim)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// wait waits until the sandbox is not paused.
func (g *fakeGuest) wait(ctx context.Context) error {
	g.runtime.mu.Lock()
	awake := g.awake
	g.runtime.mu.Unlock()
	select {
	case <-awake:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-g.ctx.Done():
		return g.ctx.Err()
	}
}

// errCut is what a hook of a request to a guest returns to end all pipes instead of answering.
var errCut = errors.New("cut")

// step runs the hook of a request. False means that the request is over.
func (g *fakeGuest) step(w http.ResponseWriter, r *http.Request, name string) bool {
	err := g.runtime.run(r.Context(), name, g.box.ID)
	switch {
	case errors.Is(err, errCut):
		g.runtime.cut(g.box.ID)
		panic(http.ErrAbortHandler)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return false
	}
	return true
}

func (g *fakeGuest) routes() http.Handler {
	mux := http.NewServeMux()
	for route, h := range map[string]func(http.ResponseWriter, *http.Request){
		"GET /health":                        g.health,
		"POST /boot":                         g.takeBoot,
		"GET /boot":                          g.lastBoot,
		"POST /turns":                        g.takeTurn,
		"GET /journal":                       g.readJournal,
		"POST /journal":                      g.forgetJournal,
		"GET /logs":                          func(http.ResponseWriter, *http.Request) {},
		"GET /harness/session":               func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `[]`) },
		"POST /harness/session":              g.newSession,
		"GET /harness/session/{id}/message":  g.thread,
		"POST /harness/session/{id}/abort":   g.abort,
		"POST /harness/session/{id}/message": func(http.ResponseWriter, *http.Request) { g.runtime.tb.Error("a turn went around the guest") },
	} {
		name := strings.ToLower(strings.Split(route, " ")[0]) + " " + strings.Split(route, " ")[1]
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			if g.wait(r.Context()) != nil {
				panic(http.ErrAbortHandler)
			}
			if g.step(w, r, "before "+name) {
				h(w, r)
			}
		})
	}
	return mux
}

func (g *fakeGuest) health(w http.ResponseWriter, _ *http.Request) {
	h := sandbox.Health{Guest: g.id}
	g.runtime.set(func() {
		if g.boot != nil {
			h.Session = g.boot.Session
		}
		h.Capture = g.box.capture
	})
	_ = json.NewEncoder(w).Encode(h)
}

func (g *fakeGuest) takeBoot(w http.ResponseWriter, r *http.Request) {
	var boot sandbox.Boot
	if err := json.NewDecoder(r.Body).Decode(&boot); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	tell := func(ev sandbox.BootEvent) {
		_ = json.NewEncoder(w).Encode(ev)
		_ = http.NewResponseController(w).Flush()
	}
	tell(sandbox.BootEvent{Phase: "injecting_files"})
	var booting func(func(sandbox.BootEvent))
	g.runtime.set(func() { booting = g.runtime.booting })
	if booting != nil {
		booting(tell)
	}
	if err := g.runtime.run(r.Context(), "boot", g.box.ID); err != nil {
		tell(sandbox.BootEvent{Error: err.Error()})
		return
	}
	var other bool
	g.runtime.set(func() {
		if other = g.boot != nil && !reflect.DeepEqual(*g.boot, boot); !other {
			g.boot, g.box.boot = &boot, &boot
		}
	})
	if other {
		tell(sandbox.BootEvent{Error: "this sandbox has been booted for something else already"})
		return
	}
	tell(sandbox.BootEvent{Phase: "harness_listening"})
	tell(sandbox.BootEvent{Done: true, Guest: g.id})
}

func (g *fakeGuest) lastBoot(w http.ResponseWriter, _ *http.Request) {
	var boot *sandbox.Boot
	g.runtime.set(func() { boot = g.box.boot })
	if boot == nil {
		http.Error(w, "not booted", http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(boot)
}

func (g *fakeGuest) takeTurn(w http.ResponseWriter, r *http.Request) {
	var t sandbox.Turn
	if err := json.NewDecoder(r.Body).Decode(&t); err != nil {
		panic(http.ErrAbortHandler)
	}
	if g.wait(r.Context()) != nil || !g.step(w, r, "read turn") {
		return
	}
	var booted, fresh bool
	g.runtime.set(func() {
		booted, fresh = g.boot != nil, !g.turns[t.ID]
		if booted && fresh && g.ctx.Err() == nil {
			g.turns[t.ID] = true
			g.start(t)
		}
	})
	if !booted {
		http.Error(w, "not booted", http.StatusServiceUnavailable)
		return
	}
	if g.step(w, r, "after post /turns") {
		w.WriteHeader(http.StatusAccepted)
	}
}

func (g *fakeGuest) newSession(w http.ResponseWriter, _ *http.Request) {
	var id string
	g.runtime.set(func() {
		id = g.runtime.id("ses")
		g.threads[id] = []*fakeMessage{}
	})
	_, _ = fmt.Fprintf(w, `{"id":%q}`, id)
}

func (g *fakeGuest) thread(w http.ResponseWriter, r *http.Request) {
	var list []string
	g.runtime.set(func() {
		for _, m := range g.threads[r.PathValue("id")] {
			list = append(list, m.json())
		}
	})
	_, _ = io.WriteString(w, "["+strings.Join(list, ",")+"]")
}

func (g *fakeGuest) abort(w http.ResponseWriter, r *http.Request) {
	g.runtime.set(func() {
		if t := g.running[r.PathValue("id")]; t != nil {
			t.abort()
		}
	})
	_, _ = io.WriteString(w, "true")
}

// add puts an entry into the journal, whose line begins with its second member.
func (g *fakeGuest) add(line string) {
	if g.wait(g.ctx) != nil {
		return
	}
	g.runtime.set(func() { g.put(line) })
}

// put is add, with runtime.mu held.
func (g *fakeGuest) put(line string) {
	g.last++
	switch n := len(g.entries); {
	case !g.losing:
		g.entries = append(g.entries, fakeEntry{n: g.last, line: line})
	case n > 0 && g.entries[n-1].lost > 0:
		g.entries[n-1].n, g.entries[n-1].lost = g.last, g.entries[n-1].lost+1
	default:
		g.entries = append(g.entries, fakeEntry{n: g.last, lost: 1})
	}
	close(g.more)
	g.more = make(chan struct{})
}

func (g *fakeGuest) forget(n int64) {
	g.gone = max(g.gone, n)
	for len(g.entries) > 0 && g.entries[0].n <= g.gone {
		g.entries = g.entries[1:]
	}
}

func (g *fakeGuest) readJournal(w http.ResponseWriter, r *http.Request) {
	g.runtime.mu.Lock()
	answer := g.runtime.journal
	g.runtime.mu.Unlock()
	if answer != nil && answer(w, r, g) {
		return
	}
	after, err := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	var me int
	ok := err == nil
	g.runtime.set(func() {
		if ok = ok && r.URL.Query().Get("guest") == g.id && after <= g.last; ok {
			g.forget(after)
			g.readers++
			me = g.readers
		}
	})
	if !ok {
		http.Error(w, "gone", http.StatusGone)
		return
	}
	for g.wait(r.Context()) == nil {
		var b strings.Builder
		var more chan struct{}
		g.runtime.set(func() {
			after = g.lines(&b, after)
			more = g.more
			ok = me == g.readers
		})
		if !ok {
			return
		}
		if _, err := io.WriteString(w, b.String()); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		case <-g.ctx.Done():
			return
		}
	}
}

// lines writes the entries after one, and returns the number of the last.
func (g *fakeGuest) lines(b *strings.Builder, after int64) int64 {
	if after < g.gone {
		fmt.Fprintf(b, "{\"n\":%d,\"lost\":%d}\n", g.gone, g.gone-after)
		after = g.gone
	}
	for _, e := range g.entries {
		switch {
		case e.n <= after:
			continue
		case e.lost > 0:
			fmt.Fprintf(b, "{\"n\":%d,\"lost\":%d}\n", e.n, e.n-after)
		default:
			fmt.Fprintf(b, "{\"n\":%d,%s}\n", e.n, e.line)
		}
		after = e.n
	}
	return after
}

func (g *fakeGuest) forgetJournal(w http.ResponseWriter, r *http.Request) {
	through, err := strconv.ParseInt(r.URL.Query().Get("through"), 10, 64)
	ok := err == nil
	g.runtime.set(func() {
		if ok = ok && through <= g.last; ok {
			g.forget(through)
		}
	})
	if !ok {
		http.Error(w, "not there yet", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
