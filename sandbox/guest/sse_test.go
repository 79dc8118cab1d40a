//go:build linux

package guest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// events reads all of a stream; an event that is too long is "long".
func events(t *testing.T, r io.Reader, limit int) []string {
	t.Helper()
	var all []string
	for s := newEventStream(r, limit); ; {
		data, err := s.next()
		switch {
		case errors.Is(err, errLongFrame):
			data = []byte("long")
		case err != nil:
			return all
		}
		all = append(all, string(data))
	}
}

func TestEventStream(t *testing.T) {
	long := strings.Repeat("x", 10<<10)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"one", "data: a\n\n", []string{"a"}},
		{"byte order mark", "\uFEFFdata: a\n\n", []string{"a"}},
		{"crlf", "data: a\r\ndata: b\r\n\r\n", []string{"a\nb"}},
		{"no blank", "data:a\ndata:  b\n\n", []string{"a\n b"}},
		{"comments and other fields", ": hi\nid: 1\nevent: e\nretry: 5\ndatum: x\ndata: a\n: x\n\n:\n\n", []string{"a"}},
		{"no data", "\n\nid: 1\n\ndata: a\n\n", []string{"a"}},
		{"empty data", "data\n\ndata:\ndata\n\n", []string{"", "\n"}},
		{"unfinished", "data: a\n\ndata: b\n", []string{"a"}},
		{"longer than the buffer", "data: " + long + "\n\ndata: a\n\n", []string{long, "a"}},
		{"too long a line", "data: " + long + long + "\ndata: x\n\ndata: a\n\n", []string{"long", "a"}},
		{"too many lines", strings.Repeat("data: "+long+"\n", 3) + "\ndata: a\n\n", []string{"long", "a"}},
		{"too long a comment", "data: a\n:" + long + long + "\n\ndata: b\n\n", []string{"long", "b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := events(t, strings.NewReader(tt.text), 12<<10); !slices.Equal(got, tt.want) {
				t.Errorf("events = %.60q, want %.60q", got, tt.want)
			}
			if got := events(t, iotest.OneByteReader(strings.NewReader(tt.text)), 12<<10); !slices.Equal(got, tt.want) {
				t.Errorf("events byte by byte = %.60q, want %.60q", got, tt.want)
			}
		})
	}
}

// No stream makes the reader hold more than it may, and how a stream is cut into reads
// makes no difference.
func FuzzEventStream(f *testing.F) {
	for _, seed := range []string{"data: a\n\n", "data: a\r\ndata\n\n:x\nid:1\n\n", "\uFEFFdata: {}\n\ndata", strings.Repeat("data: x\n", 20)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := events(t, bytes.NewReader(text), 64)
		if again := events(t, iotest.OneByteReader(bytes.NewReader(text)), 64); !slices.Equal(got, again) {
			t.Errorf("events = %q, byte by byte %q", got, again)
		}
		for _, data := range got {
			if len(data) > 64+4096+1 {
				t.Errorf("an event of %d bytes", len(data))
			}
		}
	})
}
