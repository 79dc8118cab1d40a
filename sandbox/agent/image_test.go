package agent_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/sandbox/agent"
)

// maxImage is the base64 of an image of 5 MiB.
var maxImage = strings.Repeat("A", (5<<20)/3*4+4)

// show is a message with images.
func show(text string, images ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"model":{"modelID":"m"},"parts":[{"type":"text","text":%q}`, text)
	for _, data := range images {
		b.WriteString(`,{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + data + `"}}`)
	}
	return b.String() + "]}"
}

func times(n int, s string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = s
	}
	return all
}

func (f *fixture) post(body string) message {
	f.t.Helper()
	var m message
	f.do(http.MethodPost, "/session/"+f.session+"/message", body, http.StatusOK, &m)
	return m
}

// seen is a model call in short: per message its text and images.
func (c chat) seen() []string {
	var all []string
	for _, m := range c.Messages[1:] {
		all = append(all, m.Role+" "+m.short())
	}
	return all
}

func (m chatMessage) short() string {
	var pieces []struct{ Type, Text string }
	if json.Unmarshal(m.Content, &pieces) != nil {
		return m.text()
	}
	var words []string
	for _, p := range pieces {
		if p.Type == "image_url" {
			p.Text = "IMAGE"
		}
		words = append(words, p.Text)
	}
	return strings.Join(words, " ")
}

func TestOldImagesLeaveTheContext(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.post(show("one", maxImage))
	f.post(show("two", times(4, maxImage)...))
	f.send("three")
	want := [][]string{
		{"user one IMAGE"},
		{"user [image left out] one", "assistant done", "user two IMAGE IMAGE IMAGE IMAGE"},
		{"user [image left out] one", "assistant done", "user [image left out] two IMAGE IMAGE IMAGE", "assistant done", "user three"},
	}
	var got [][]string
	for _, r := range f.requests() {
		got = append(got, r.seen())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("model calls (-want +got):\n%s", diff)
	}
}

// counter is a gateway that remembers no request but how large the last one was.
type counter struct {
	mu   sync.Mutex // guards size
	size int64
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	c.mu.Lock()
	c.size = n
	c.mu.Unlock()
	say("done")(w, r)
}

// The largest message there can be is taken, and a thread with many of them stays small.
func TestManyImagesTakeBoundedMemory(t *testing.T) {
	var gateway counter
	model := httptest.NewServer(&gateway)
	t.Cleanup(model.Close)
	f := start(t, func(c *agent.Config) { c.GatewayURL = model.URL + "/v1" })
	body := show("look", times(10, maxImage)...)
	before := heap()
	for range 2 {
		f.post(body)
	}
	if gateway.size < 10*int64(len(maxImage)) || gateway.size > int64(len(body))+1<<20 {
		t.Errorf("the model got %d bytes", gateway.size)
	}
	if grown := heap() - before; grown > 40<<20 {
		t.Errorf("the session holds %d MiB", grown>>20)
	}
	var thread json.RawMessage
	f.do(http.MethodGet, "/session/"+f.session+"/message", "", http.StatusOK, &thread)
	if len(thread) > 40<<10 {
		t.Errorf("the thread has %d bytes", len(thread))
	}
	f.send("go on")
	if gateway.size > 25<<20 {
		t.Errorf("the next question has %d MiB", gateway.size>>20)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // for what sync.Pool held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestMessagesBeyondTheLimit(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	var answer json.RawMessage
	f.do(http.MethodPost, "/session/"+f.session+"/message", strings.Repeat(" ", 96<<20+1), http.StatusRequestEntityTooLarge, &answer)
	if !strings.Contains(string(answer), "larger than 96 MiB") {
		t.Errorf("answer = %s", answer)
	}
	f.do(http.MethodPost, "/session/"+f.session+"/message", ask("x")+strings.Repeat(" ", 96<<20-len(ask("x"))), http.StatusOK, nil)
}

func TestEventsAndThreadHaveNoImageBytes(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	stream := f.subscribe()
	f.post(`{"model":{"modelID":"m"},"parts":[
		{"type":"text","text":"x","url":"u","source":{"type":"base64","data":"AAAA"}},
		{"type":"image","url":"u","source":{"type":"base64","media_type":"image/png","data":"AAAAAA=="}},
		{"type":"file","mime":"image/gif","filename":"a.gif","url":"data:image/gif;base64,BBBBBBA="},
		{"type":"file","mime":"image/svg+xml","url":"data:image/svg+xml,%3Csvg \"/>"}]}`)
	var got []string
	for _, e := range stream.until("session.idle") {
		if p := e.Properties.Part; e.Type == "message.part.updated" && (p.Type == "image" || p.Type == "file") {
			p.ID, p.SessionID, p.MessageID = "", "", ""
			text, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimPrefix(string(text), `{"id":"","sessionID":"","messageID":"",`))
		}
	}
	want := []string{
		`"type":"image","source":{"type":"omitted","media_type":"image/png","bytes":4}}`,
		`"type":"file","mime":"image/gif","filename":"a.gif","source":{"type":"omitted","media_type":"image/gif","bytes":5}}`,
		`"type":"file","mime":"image/svg+xml","source":{"type":"omitted","media_type":"image/svg+xml","bytes":8}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	if p := f.thread()[0].Parts[0]; p.URL != "" || p.Source != nil {
		t.Errorf("text part = %+v", p)
	}
	if content := string(f.requests()[0].Messages[1].Content); !strings.HasSuffix(content, `{"url":"data:image/svg+xml,%3Csvg \"/>"}}]`) {
		t.Errorf("content = %s", content)
	}
}

const bodyTooLarge = `<html>413 Request Entity Too Large</html>`

// A gateway that takes less than the agent would send gets images of older messages no
// more, then fewer of the newest one, and in the end the turn has its answer.
func TestBodyThatIsTooLargeLosesImages(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.post(show("one", "AAAA"))
	f.play(status(413, bodyTooLarge), status(413, bodyTooLarge), status(413, bodyTooLarge))
	if m := f.post(show("two", "AAAA", "BBBB")); m.text() != "done" || m.Info.Error != nil {
		t.Fatalf("answer = %+v", m)
	}
	var got []string
	for _, r := range f.requests()[1:] {
		got = append(got, strings.Join(r.seen(), ", "))
	}
	want := []string{
		"user one IMAGE, assistant done, user two IMAGE IMAGE",
		"user [image left out] one, assistant done, user two IMAGE IMAGE",
		"user [image left out] one, assistant done, user [image left out] two IMAGE",
		"user [image left out] one, assistant done, user [image left out] [image left out] two",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("model calls (-want +got):\n%s", diff)
	}
}

// A window that is too small costs the images of older messages before the talk.
func TestOverflowLosesOldImagesFirst(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.post(show("one", "AAAA"))
	f.play(status(400, tooLong))
	f.post(show("two", "BBBB"))
	if got := strings.Join(f.requests()[2].seen(), ", "); got != "user [image left out] one, assistant done, user two IMAGE" {
		t.Errorf("after the error the model gets %s", got)
	}
}

// Without images a 413 is an overflow like others.
func TestBodyThatIsTooLargeIsCompacted(t *testing.T) {
	t.Parallel()
	f := start(t, nil, long(5)...)
	f.play(status(413, bodyTooLarge), say("SUMMARY"), say("finished"))
	if m := f.send("count"); m.text() != "finished" || m.Info.Error != nil {
		t.Fatalf("answer = %+v", m)
	}
	if f.send("again").text() != "done" {
		t.Error("the session does not live on")
	}
}
