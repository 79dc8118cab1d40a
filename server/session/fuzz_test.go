package session_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"lap/server/session"
)

func FuzzReply(f *testing.F) {
	for _, seed := range []string{`{"info":{},"parts":[]}`, `{"parts":null}`, `null`, `[]`, `{"parts":{"0":1}}`, "{\"parts\":\t[1]}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		whole, err := session.ParseReply(answer)
		if err != nil {
			return
		}
		var reply struct{ Parts []json.RawMessage }
		if err := json.Unmarshal(whole, &reply); err != nil || reply.Parts == nil {
			t.Errorf("%q became %s, which has no parts (%v)", answer, whole, err)
		}
	})
}

func FuzzFrame(f *testing.F) {
	w := newWorld(f, nil)
	for _, seed := range []string{
		`{"type":"message.updated","properties":{"sessionID":"s","info":{"id":"m"}}}`,
		`{"type":"message.part.updated","properties":{"sessionID":"s","part":{"id":"p","messageID":"m","type":"text","text":"x"}}}`,
		`{"type":"message.part.updated","properties":{"sessionID":"s","part":{"id":"p","messageID":"m","type":"image","source":{"data":"AAAA"}}}}`,
		`{"type":"message.part.delta","properties":{"sessionID":"s","messageID":"m","partID":"p","field":"text","delta":"x"}}`,
		"{\"type\":\"x\",\r\n\"properties\":{\"sessionID\":\"s\"}}",
		`{"type":"message.removed","properties":{"sessionID":"s","messageID":"m"}}`,
		`null`, `[]`, `{"Type":"x","Properties":{"SessionID":"s"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) { // it would not have come out of an entry
			return
		}
		if body, ok := session.Frame(raw, "s"); ok && (!json.Valid(body) || bytes.ContainsAny(body, "\r\n")) {
			t.Errorf("%q is stored as %q", raw, body)
		}
		thread := session.NewThread(w.Engine, "none")
		for _, frame := range [][]byte{
			[]byte(`{"type":"message.updated","properties":{"sessionID":"s","info":{"id":"m"}}}`),
			[]byte(`{"type":"message.part.updated","properties":{"sessionID":"s","part":{"id":"p","messageID":"m"}}}`),
			raw,
			[]byte(`{"type":"message.part.delta","properties":{"sessionID":"s","messageID":"m","partID":"p","field":"text","delta":"x"}}`),
		} {
			bodies, err := thread.Apply(t.Context(), frame, "s")
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range bodies {
				if !json.Valid(body) {
					t.Errorf("after %q a message is stored as %q", raw, body)
				}
			}
		}
	})
}

func TestImagesAreLeftOut(t *testing.T) {
	for raw, want := range map[string]string{
		`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJDREVGR0hJ"}}`: `{"source":{"bytes":9,"media_type":"image/png","type":"omitted"},"type":"image"}`,
		`{"type":"file","mime":"image/png","url":"data:image/png;base64,QUJDREVGR0hJ"}`:              `{"mime":"image/png","source":{"bytes":9,"media_type":"image/png","type":"omitted"},"type":"file"}`,
		`{"type":"file","url":"https://example.com/a.png"}`:                                          `{"type":"file","url":"https://example.com/a.png"}`,
	} {
		stored, _, err := session.WithoutImages([]json.RawMessage{json.RawMessage(raw)})
		if err != nil || string(stored) != "["+want+"]" {
			t.Errorf("%s is stored as %s, error %v", raw, stored, err)
		}
		frame := `{"type":"message.part.updated","properties":{"sessionID":"s","part":` + raw + `}}`
		if body, ok := session.Frame(json.RawMessage(frame), "s"); !ok || !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s is stored as %s", frame, body)
		}
	}
}
