package session_test

import (
	"encoding/json"
	"testing"

	"lap/server/session"
)

// What a sandbox answers may come from the agent, so it may be anything.

func FuzzReply(f *testing.F) {
	for _, seed := range []string{`{"info":{},"parts":[]}`, `{"parts":null}`, `null`, `[]`, `{"parts":{"0":1}}`, "{\"parts\":\t[1]}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		whole, parts, err := session.ParseReply(answer)
		if err != nil {
			return
		}
		var reply struct{ Parts []json.RawMessage }
		if err := json.Unmarshal(whole, &reply); err != nil || reply.Parts == nil {
			t.Errorf("%q became %s, which has no parts (%v)", answer, whole, err)
		}
		var list []json.RawMessage
		if err := json.Unmarshal(parts, &list); err != nil {
			t.Errorf("%q has parts %s: %v", answer, parts, err)
		}
	})
}

func FuzzThreadMessage(f *testing.F) {
	for seed := range images {
		f.Add([]byte(seed))
	}
	f.Add([]byte(`{"info":{"id":1},"parts":[null,1,"x"]}`))
	f.Add([]byte(`{"info":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if row, err := session.MessageRow(raw); err == nil && (row.ID == "" || !json.Valid(row.Body)) {
			t.Errorf("%q is stored as %q, %s", raw, row.ID, row.Body)
		}
	})
}

// images are messages with an image, in both forms, and how they are stored.
var images = map[string]string{
	`{"info":{"id":"m"},"parts":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJDREVGR0hJ"}}]}`: `{"info":{"id":"m"},"parts":[{"source":{"bytes":9,"media_type":"image/png","type":"omitted"},"type":"image"}]}`,
	`{"info":{"id":"m"},"parts":[{"type":"file","mime":"image/png","url":"data:image/png;base64,QUJDREVGR0hJ"}]}`:              `{"info":{"id":"m"},"parts":[{"mime":"image/png","source":{"bytes":9,"media_type":"image/png","type":"omitted"},"type":"file"}]}`,
}

func TestImagesAreLeftOutOfTheStoredThread(t *testing.T) {
	for raw, want := range images {
		if row, err := session.MessageRow([]byte(raw)); err != nil || string(row.Body) != want {
			t.Errorf("%s is stored as %s, error %v", raw, row.Body, err)
		}
	}
}
