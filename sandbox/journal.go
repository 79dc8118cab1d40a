package sandbox

import "encoding/json"

// The guest's HTTP API, over the pipe. Bodies are JSON unless said otherwise, failures
// are text/plain with a status of 400 or more.
//
//	GET  /health              Health
//	POST /boot                a Boot; answers BootEvents, newline-delimited
//	GET  /boot                the Boot this sandbox was last booted with, also by an earlier
//	                          guest process; 404: none
//	POST /turns               a Turn; 202. The same Turn.ID again is 202 and does nothing.
//	GET  /journal?guest=&after=N  Entries after N, newline-delimited, for as long as the reader
//	                          stays. 410 when guest is not this guest process's id, or when
//	                          N lies ahead of the journal. What is <= N is forgotten.
//	POST /journal?through=N   forgets entries up to N; 204
//	GET  /logs                text/plain: the last MaxOutput bytes of what was printed
//	GET  /files?path=P        a file as it is (application/octet-stream, with its length),
//	                          a directory as application/x-tar
//	PUT  /files?path=P        the body becomes the file, or with Content-Type
//	                          application/x-tar is unpacked into the directory
//	GET  /diff                text/x-diff: the working tree against HEAD, new files included
//	*    /harness/...         the harness's own API

// MaxOutput is how much of what a sandbox printed is kept, in bytes.
const MaxOutput = 64 << 10

// A Health is what a guest says of itself.
type Health struct {
	Guest   string `json:"guest"`             // random id of the guest process
	Session string `json:"session,omitempty"` // it was booted for; empty: not booted
	Capture string `json:"capture,omitempty"` // why programs that know no proxy have no way out; empty: they have
}

// A Turn asks a guest to send one message to its harness, once.
type Turn struct {
	ID   string          `json:"id"`   // unique in the sandbox
	Path string          `json:"path"` // of the harness's API, such as /session/ses_1/message
	Body json.RawMessage `json:"body"`
}

// A TurnResult is how a Turn ended. Error says why there is no Body: the harness gave no
// answer, then Status is 0, or one that the guest could not keep.
type TurnResult struct {
	ID     string          `json:"id"`
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body,omitempty"` // the harness's answer; text that is no JSON comes as a JSON string
	Error  string          `json:"error,omitempty"`
}

// An Entry is one line of a guest's journal: what happened in the sandbox, kept until
// the host has stored it. One of Event, Turn, Log and Lost is set. A turn's result comes
// before the session.idle that follows it.
type Entry struct {
	N     int64           `json:"n"`               // from 1, without gaps
	Event json.RawMessage `json:"event,omitempty"` // a frame of the harness's event stream, {"type", "properties"}
	Turn  *TurnResult     `json:"turn,omitempty"`
	Log   string          `json:"log,omitempty"`  // printed by the harness or the guest, whole lines
	Lost  int             `json:"lost,omitempty"` // so many entries were dropped here, because nobody read them
}
