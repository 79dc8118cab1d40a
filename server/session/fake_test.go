package session_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"lap/sandbox"
	"lap/sandbox/pipe"
)

// A hook runs before or after a step, and may fail it. id is that of the sandbox, or what
// else the step is about.
type hook func(ctx context.Context, id string) error

// A sighting is a turn that a harness was given.
type sighting struct {
	session string // of lap
	turn    string // its id
	box     string
	texts   []string // of its parts
}

// A fakeRuntime runs sandboxes inside the test: real pipes, a guest that speaks the
// guest's API, a harness that does what a script says.
type fakeRuntime struct {
	tb   testing.TB
	work sync.WaitGroup // what the guests run

	mu      sync.Mutex // guards what follows, and what is in it
	boxes   map[string]*fakeBox
	hooks   map[string]hook // by "before start", "after start" and so on
	calls   map[string]int  // by step
	images  map[string]string
	build   string
	down    bool // the engine does not answer
	broken  bool // pipes end at once
	chaos   func(step, id string) error
	script  script
	seen    []sighting
	journal func(w http.ResponseWriter, r *http.Request, g *fakeGuest) bool // answers for the guest; nil: the guest does
	booting func(tell func(sandbox.BootEvent))                              // what guests tell while they boot
	n       int                                                             // makes ids
}

func newFakeRuntime(tb testing.TB) *fakeRuntime {
	tb.Helper()
	return &fakeRuntime{
		tb: tb, boxes: map[string]*fakeBox{}, hooks: map[string]hook{}, calls: map[string]int{},
		images: map[string]string{}, build: "build-1", script: echo,
	}
}

// A fakeBox is a container.
type fakeBox struct {
	sandbox.Detail
	note  string        // a file in it
	boot  *sandbox.Boot // the file that keeps the latest boot
	guest *fakeGuest    // nil: it does not run

	capture string // why programs that know no proxy have no way out
}

// on sets what happens at a step, such as "before start"; nil: nothing.
func (r *fakeRuntime) on(step string, h hook) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hooks[step] = h
}

// fail makes a step fail, or with nil no more.
func (r *fakeRuntime) fail(step string, err error) {
	r.on("before "+step, func(context.Context, string) error { return err })
}

// hold makes all who come to a step wait, as long as their context lasts. Each sends its
// id to the channel. release lets them go, and all who come later.
func (r *fakeRuntime) hold(step string) (entered <-chan string, release func()) {
	came, open := make(chan string, 1000), make(chan struct{})
	r.on(step, func(ctx context.Context, id string) error {
		select {
		case <-open:
			return nil
		default:
		}
		came <- id
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return came, sync.OnceFunc(func() { close(open) })
}

func (r *fakeRuntime) run(ctx context.Context, step, id string) error {
	r.mu.Lock()
	h, chaos := r.hooks[step], r.chaos
	r.mu.Unlock()
	if chaos != nil {
		if err := chaos(step, id); err != nil {
			return err
		}
	}
	if h == nil {
		return nil
	}
	return h(ctx, id)
}

// step is one call of the engine's.
func (r *fakeRuntime) step(ctx context.Context, name, id string, fn func() error) error {
	if err := r.run(ctx, "before "+name, id); err != nil {
		return err
	}
	r.mu.Lock()
	r.calls[name]++
	var err error
	if r.down {
		err = fmt.Errorf("%w: start it", sandbox.ErrUnavailable)
	} else {
		err = fn()
	}
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.run(ctx, "after "+name, id)
}

func (r *fakeRuntime) Ping(ctx context.Context) (string, error) {
	return "fake", r.step(ctx, "ping", "", func() error { return nil })
}

func (r *fakeRuntime) Ensure(ctx context.Context, image string, progress func(string)) error {
	progress("pulling " + image)
	return r.step(ctx, "ensure", image, func() error { return nil })
}

func (r *fakeRuntime) Image(ctx context.Context, image string) (img sandbox.Image, err error) {
	err = r.step(ctx, "image", image, func() error {
		if img.ID = r.images[image]; img.ID == "" {
			img.ID = "sha256:" + image
		}
		return nil
	})
	return img, err
}

func (r *fakeRuntime) Build(ctx context.Context) (build string, err error) {
	err = r.step(ctx, "build", "", func() error { build = r.build; return nil })
	return build, err
}

func (r *fakeRuntime) Create(ctx context.Context, spec sandbox.Spec) (string, error) {
	id := "box-" + spec.Name()
	err := r.step(ctx, "create", id, func() error {
		if r.boxes[id] != nil {
			return fmt.Errorf("the name %s is in use", spec.Name())
		}
		r.boxes[id] = &fakeBox{Detail: sandbox.Detail{Image: spec.Image, Info: sandbox.Info{
			ID: id, Name: spec.Name(), Session: spec.Session, Agent: spec.Agent, Generation: spec.Generation,
			State: sandbox.StateCreated, Created: time.Now(),
		}}}
		return nil
	})
	if err != nil { // it leaves nothing behind
		r.mu.Lock()
		r.delete(id)
		r.mu.Unlock()
		return "", err
	}
	return id, nil
}

func (r *fakeRuntime) Start(ctx context.Context, id string) (raw io.ReadWriteCloser, err error) {
	err = r.step(ctx, "start", id, func() error {
		box := r.boxes[id]
		switch {
		case box == nil:
			return fmt.Errorf("start %s: %w", id, sandbox.ErrGone)
		case box.Running():
			return fmt.Errorf("%s runs already", id)
		}
		r.newGuest(box)
		raw, err = r.open(box)
		return err
	})
	if err != nil && raw != nil {
		_ = raw.Close()
	}
	return raw, err
}

func (r *fakeRuntime) Dial(ctx context.Context, id string) (raw io.ReadWriteCloser, err error) {
	err = r.step(ctx, "dial", id, func() error {
		box := r.boxes[id]
		switch {
		case box == nil || !box.Running():
			return fmt.Errorf("dial %s: %w", id, sandbox.ErrGone)
		case box.State == sandbox.StatePaused:
			return fmt.Errorf("dial %s: %w", id, sandbox.ErrPaused)
		}
		raw, err = r.open(box)
		return err
	})
	if err != nil && raw != nil {
		_ = raw.Close()
	}
	return raw, err
}

// open makes a pipe to the guest of a running box. r.mu is held.
func (r *fakeRuntime) open(box *fakeBox) (io.ReadWriteCloser, error) {
	host, guest := net.Pipe()
	if r.broken {
		_ = guest.Close()
		return host, nil
	}
	p, err := pipe.NewGuest(guest)
	if err != nil {
		return nil, err
	}
	g := box.guest
	g.pipes = append(g.pipes, p)
	r.work.Go(func() { _ = g.server.Serve(p) })
	return host, nil
}

func (r *fakeRuntime) Pause(ctx context.Context, id string) error {
	return r.step(ctx, "pause", id, func() error {
		box := r.boxes[id]
		if box == nil || !box.Running() {
			return fmt.Errorf("pause %s: %w", id, sandbox.ErrGone)
		}
		box.pause()
		return nil
	})
}

func (r *fakeRuntime) Unpause(ctx context.Context, id string) error {
	return r.step(ctx, "unpause", id, func() error {
		box := r.boxes[id]
		if box == nil || !box.Running() {
			return fmt.Errorf("unpause %s: %w", id, sandbox.ErrGone)
		}
		box.unpause()
		return nil
	})
}

func (r *fakeRuntime) Inspect(ctx context.Context, id string) (d sandbox.Detail, err error) {
	err = r.step(ctx, "inspect", id, func() error {
		box := r.boxes[id]
		if box == nil {
			return fmt.Errorf("inspect %s: %w", id, sandbox.ErrGone)
		}
		d = box.Detail
		return nil
	})
	return d, err
}

func (r *fakeRuntime) Remove(ctx context.Context, id string) error {
	return r.step(context.WithoutCancel(ctx), "remove", id, func() error {
		for _, box := range r.boxes {
			if box.ID == id || box.Name == id {
				r.delete(box.ID)
			}
		}
		return nil
	})
}

func (r *fakeRuntime) List(ctx context.Context) (all []sandbox.Info, err error) {
	err = r.step(ctx, "list", "", func() error {
		for _, box := range r.boxes {
			all = append(all, box.Info)
		}
		return nil
	})
	return all, err
}

// delete removes a box with its processes. r.mu is held.
func (r *fakeRuntime) delete(id string) {
	if box := r.boxes[id]; box != nil {
		box.exit(false)
		delete(r.boxes, id)
	}
}

// exit ends the processes of a box; its files stay. runtime.mu is held.
func (b *fakeBox) exit(oom bool) {
	if b.guest == nil {
		return
	}
	b.guest.die()
	b.guest, b.State, b.OOMKilled, b.FinishedAt = nil, sandbox.StateExited, oom, time.Now()
}

func (b *fakeBox) pause() {
	if b.State == sandbox.StateRunning {
		b.State, b.guest.awake = sandbox.StatePaused, make(chan struct{})
	}
}

func (b *fakeBox) unpause() {
	if b.State == sandbox.StatePaused {
		b.State = sandbox.StateRunning
		close(b.guest.awake)
	}
}

// What a test does behind lap's back.

// kill ends the processes of a sandbox.
func (r *fakeRuntime) kill(id string, oom bool) {
	r.do(id, func(b *fakeBox) { b.exit(oom) })
}

// vanish removes a sandbox, as docker rm -f does.
func (r *fakeRuntime) vanish(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delete(id)
}

// reboot ends the processes of a sandbox and starts its guest anew, as docker restart does.
func (r *fakeRuntime) reboot(id string) {
	r.do(id, func(b *fakeBox) {
		b.exit(false)
		b.Restarts++
		r.newGuest(b)
	})
}

// cut ends all pipes to a sandbox.
func (r *fakeRuntime) cut(id string) {
	r.do(id, func(b *fakeBox) {
		if b.guest != nil {
			b.guest.cut()
		}
	})
}

// do changes a box, if there is one.
func (r *fakeRuntime) do(id string, change func(*fakeBox)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.boxes[id]; b != nil {
		change(b)
	}
}

// set changes the runtime, while it runs.
func (r *fakeRuntime) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// answer changes the harness, while it runs.
func (r *fakeRuntime) answer(s script) { r.set(func() { r.script = s }) }

// ids are those of all sandboxes, sorted.
func (r *fakeRuntime) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for id := range r.boxes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// box is the only sandbox.
func (r *fakeRuntime) box() *fakeBox {
	r.tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.boxes) != 1 {
		r.tb.Fatalf("%d sandboxes, want 1", len(r.boxes))
	}
	for _, b := range r.boxes {
		return b
	}
	return nil
}

// called is how often a step was taken.
func (r *fakeRuntime) called(step string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[step]
}

// sightings are the turns that the harnesses of a session were given.
func (r *fakeRuntime) sightings(session string) []sighting {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []sighting
	for _, s := range r.seen {
		if s.session == session {
			list = append(list, s)
		}
	}
	return list
}

// texts are what users said, as the harnesses of a session saw it.
func (r *fakeRuntime) texts(session string) []string {
	var list []string
	for _, s := range r.sightings(session) {
		list = append(list, s.texts[len(s.texts)-1])
	}
	return list
}

// close ends all sandboxes and waits for what they run.
func (r *fakeRuntime) close() {
	r.mu.Lock()
	for id := range r.boxes {
		r.delete(id)
	}
	r.mu.Unlock()
	r.work.Wait()
}

// id makes one. r.mu is held.
func (r *fakeRuntime) id(prefix string) string {
	r.n++
	return fmt.Sprintf("%s_%06d", prefix, r.n)
}
