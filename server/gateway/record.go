package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"lap/server/gateway/cassette"
)

// keptHeaders are those of an answer that are recorded: what its reader needs to know, and
// what the call cost.
var keptHeaders = append([]string{"Content-Type", "Retry-After", "Retry-After-Ms", "X-Should-Retry"}, costHeaders...)

// ofTheDay are answers that say nothing of the request: another try gets another one.
// They are not recorded.
var ofTheDay = []int{http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests}

// record sends a call to the model gateway, and writes it with its answer to a cassette.
func (g *Gateway) record(w http.ResponseWriter, r *http.Request, t target, tp tape, b *body, a asked) error {
	if g.upstream == nil {
		return errUnconfigured
	}
	if tp.model == "" {
		if tp.model = g.defaultModel; !realModel.MatchString(tp.model) || isOwn(tp.model) {
			return badTape("it is not said which model to record: write record/%s/<model>, such as record/%s/gpt-5, or set LITELLM_DEFAULT_MODEL to a model of the gateway", tp.cassette, tp.cassette)
		}
	}
	if isOwn(tp.model) {
		return badTape("%s cannot be recorded: only models of the model gateway can", tp.model)
	}
	if err := g.cassettes.CanRecord(tp.cassette); err != nil {
		return err
	}
	request, err := g.canonical(r, t, tp, b, g.upstream.secrets)
	if err != nil {
		return err
	}
	held := len(request.Text)
	if !g.memory.take(b.owner, held) {
		return errBusy
	}
	defer g.memory.take(b.owner, -held)
	if err := tp.rename(&t, b, &a); err != nil {
		return err
	}
	c, err := g.admit(r, t, b, a)
	if err != nil {
		return err
	}
	c.recording = &recording{gateway: g, call: c, cassette: tp.cassette, model: tp.model, request: request}
	return g.send(w, r, c)
}

// recording is a call that is being recorded. The zero value of what is not set at once
// is that of an answer that has not come.
type recording struct {
	gateway  *Gateway
	call     *call
	cassette string
	model    string
	request  cassette.Request

	io.ReadCloser // the answer's body
	answer        cassette.Answer
	length        int64 // that the body was announced to have; -1: it was not
	text          []byte
	counted       int // bytes that are taken from the sandbox's memory
	scan          *scan
	ended         bool // it is written, or will not be
}

// watch makes the answer's body one that is recorded as it passes.
func (rec *recording) watch(res *http.Response) {
	if rec == nil {
		return
	}
	if slices.Contains(ofTheDay, res.StatusCode) || res.StatusCode >= http.StatusInternalServerError {
		rec.gateway.log.WarnContext(rec.call.ctx, "model call not recorded", "session", rec.call.sandbox, "cassette", rec.cassette,
			"err", fmt.Sprintf("the model gateway answered %d", res.StatusCode))
		return
	}
	rec.answer = cassette.Answer{Status: res.StatusCode, Headers: map[string]string{}}
	for _, name := range keptHeaders {
		if v := res.Header.Get(name); v != "" {
			rec.answer.Headers[name] = v
		}
	}
	rec.length, rec.scan = res.ContentLength, newScan(rec.call.form, res.Header)
	rec.ReadCloser, res.Body = res.Body, rec
	if e := res.Header.Get("Content-Encoding"); e != "" {
		rec.give(errors.New("the answer is compressed, which was not asked for"))
	}
	if rec.length == 0 {
		rec.write()
	}
}

func (rec *recording) Read(p []byte) (int, error) {
	n, err := rec.ReadCloser.Read(p)
	if !rec.ended {
		rec.keep(p[:n])
	}
	if errors.Is(err, io.EOF) || int64(len(rec.text)) == rec.length {
		rec.write() // before the last bytes are handed out, where they are known to be the last
	}
	return n, err
}

// Close is also that of an answer whose reader left before its end. It is recorded where
// it has said that it is over, as event streams do.
func (rec *recording) Close() error {
	if rec.scan.complete {
		rec.write()
	}
	rec.give(errors.New("the answer was cut"))
	return rec.ReadCloser.Close()
}

func (rec *recording) keep(p []byte) {
	rec.scan.write(p)
	if len(rec.text)+len(p) > cassette.MaxAnswer {
		rec.give(fmt.Errorf("the answer is larger than %d MiB", cassette.MaxAnswer>>20))
		return
	}
	if len(rec.text)+len(p) > cap(rec.text) {
		more := max(len(p), len(rec.text)/2, freely)
		if !rec.gateway.memory.take(rec.call.sandbox, keepCost*more) {
			rec.give(errBusy)
			return
		}
		rec.counted += keepCost * more
		rec.text = append(make([]byte, 0, len(rec.text)+more), rec.text...)
	}
	rec.text = append(rec.text, p...)
}

// write adds the call to the cassette, the first time.
func (rec *recording) write() {
	if rec.ended {
		return
	}
	rec.answer.Body = string(rec.text)
	rec.give(rec.gateway.cassettes.Record(rec.call.ctx, rec.cassette, cassette.Call{
		Model: rec.model, Request: rec.request, Answer: rec.answer,
	}))
}

// give ends the recording. The call itself goes on when that failed, as its answer is on
// its way.
func (rec *recording) give(err error) {
	if rec.ended {
		return
	}
	rec.ended, rec.text = true, nil
	rec.gateway.memory.take(rec.call.sandbox, -rec.counted)
	if err != nil {
		rec.gateway.log.ErrorContext(rec.call.ctx, "model call not recorded", "session", rec.call.sandbox, "cassette", rec.cassette, "err", err)
	}
}
