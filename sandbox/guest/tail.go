//go:build linux

package guest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

const (
	minBackoff = 20 * time.Millisecond // before the event stream is asked for again
	maxBackoff = 2 * time.Second
	tellEvery  = time.Second // at the most, of frames that were dropped
)

// A tail reads the event stream of a harness into a feed, for as long as the harness
// lives. Where the stream broke off and was opened again, events may be missing: there
// it leaves a mark that tells the host to read the thread again.
type tail struct {
	client *http.Client
	feed   *feed
	log    *slog.Logger
	opened chan struct{} // closed when events are read for the first time
	open   bool          // opened is closed

	dropped int       // frames that were no events, since told
	told    time.Time // when that was logged
}

func newTail(client *http.Client, f *feed, log *slog.Logger) *tail {
	return &tail{client: client, feed: f, log: log, opened: make(chan struct{})}
}

// run reads until ctx ends.
func (t *tail) run(ctx context.Context) {
	for wait := minBackoff; ; wait = min(2*wait, maxBackoff) {
		read, err := t.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if read {
			wait = minBackoff
		}
		if t.open {
			t.log.Warn("event stream of the harness broke off", "err", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// read reads one stream to its end. It reports whether there was an event, and why the
// stream ended.
func (t *tail) read(ctx context.Context) (read bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, harnessURL+"/event", nil)
	if err != nil {
		return false, err
	}
	res, err := t.client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("status %s", res.Status)
	}
	for events := newEventStream(res.Body, maxFrame); ; read = true {
		data, err := events.next()
		if err != nil && !errors.Is(err, errLongFrame) {
			return read, err
		}
		if !read { // the first frame says that the harness has subscribed us
			t.begin()
		}
		t.pass(data, err)
	}
}

// begin notes that from now on no event is missed.
func (t *tail) begin() {
	if t.open {
		t.feed.event(frame{lost: true})
		return
	}
	t.open = true
	close(t.opened)
}

// pass hands a frame to the feed if it is an event.
func (t *tail) pass(data []byte, err error) {
	var f frame
	if err == nil {
		f, err = parseFrame(data)
	}
	switch {
	case err != nil:
		t.drop(err)
	case f.kind != connectedEvent && f.kind != heartbeatEvent:
		t.feed.event(f)
	}
}

// drop counts a frame that is no event, and tells of it now and then: there may be many.
func (t *tail) drop(err error) {
	t.dropped++
	if time.Since(t.told) < tellEvery {
		return
	}
	t.log.Warn("frames of the harness dropped", "frames", t.dropped, "err", err)
	t.dropped, t.told = 0, time.Now()
}
