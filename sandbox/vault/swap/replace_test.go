package swap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// naive is what a replacer must do, in the plainest way.
func naive(s string, patterns, with []string) string {
	var out strings.Builder
	for len(s) > 0 {
		best := -1
		for i, p := range patterns {
			if len(p) >= 2 && strings.HasPrefix(s, p) && (best < 0 || len(p) > len(patterns[best])) {
				best = i
			}
		}
		if best < 0 {
			out.WriteByte(s[0])
			s = s[1:]
			continue
		}
		out.WriteString(with[best])
		s = s[len(patterns[best]):]
	}
	return out.String()
}

// A pieces reader cuts data where cuts, used in rotation, say.
type pieces struct {
	data []byte
	cuts []byte
	next int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := len(p.data)
	if len(p.cuts) > 0 {
		n = int(p.cuts[p.next%len(p.cuts)])
		p.next++
	}
	n = copy(b, p.data[:min(n, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

func newReplacer(src io.Reader, patterns, with []string) *replacer {
	return &replacer{src: src, m: newMatcher(patterns), on: func(id int) string { return with[id] }}
}

func TestReplacer(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1<<10)
	tests := []struct {
		name     string
		patterns []string
		in       string
	}{
		{"nothing to find", []string{"stub_a_1"}, "plain text"},
		{"empty", []string{"stub_a_1"}, ""},
		{"alone", []string{"stub_a_1"}, "stub_a_1"},
		{"one after the other", []string{"stub_a_1", "stub_b_2"}, "stub_a_1stub_b_2stub_a_1"},
		{"prefix of another", []string{"stub_token", "stub_token_2"}, "stub_token stub_token_2 stub_token_ stub_token_"},
		{"false start", []string{"stub_a_1"}, "ststubstub_stub_a_stub_a_1"},
		{"overlapping", []string{"abcd", "bcde", "cdef"}, "abcdef bcdef cdef abbcde"},
		{"leftmost before longest", []string{"ab", "bcdefgh"}, "abcdefgh"},
		{"longer one fails late", []string{"ab", "abababac"}, "ababababac ababab"},
		{"end in a prefix", []string{"stub_a_1"}, "x stub_a_"},
		{"longer than the buffer", []string{long + long + long, "ab"}, "x" + long + long + long + "ab" + long},
		{"two bytes", []string{"ab"}, "aabb"},
		{"one byte is overlooked", []string{"a", "bc"}, "abc"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			with := make([]string, len(tt.patterns))
			for i := range with {
				with[i] = fmt.Sprintf("<%d>", i)
			}
			want := naive(tt.in, tt.patterns, with)
			for _, cuts := range [][]byte{nil, {1}, {2}, {3, 1}, {7}, {0, 255}} {
				got, err := io.ReadAll(newReplacer(&pieces{data: []byte(tt.in), cuts: cuts}, tt.patterns, with))
				if err != nil || string(got) != want {
					t.Errorf("cuts %v: got %.80q, %v, want %.80q", cuts, got, err, want)
				}
			}
			if got := newMatcher(tt.patterns).replace(tt.in, func(id int) string { return with[id] }); got != want {
				t.Errorf("replace: got %.80q, want %.80q", got, want)
			}
		})
	}
}

// send is for use in a goroutine; the test fails when nothing comes.
func send(w io.Writer, s string) { _, _ = io.WriteString(w, s) }

func TestReplacerHoldsBackOnlyPrefixes(t *testing.T) {
	src, feed := io.Pipe()
	r := newReplacer(src, []string{"stub_a_1"}, []string{"value"})
	steps := []struct{ in, out string }{
		{"data: x\n\n", "data: x\n\n"},
		{"abc stub_", "abc "},
		{"a_1!", "value!"},
		{"\nst", "\n"},
		{"art st", "start "},
	}
	buf := make([]byte, 100)
	for _, step := range steps {
		go send(feed, step.in)
		n, err := io.ReadFull(r, buf[:len(step.out)])
		if err != nil || string(buf[:n]) != step.out {
			t.Fatalf("after %q: got %q, %v, want %q", step.in, buf[:n], err, step.out)
		}
	}
	lost := errors.New("lost")
	go feed.CloseWithError(lost)
	rest, err := io.ReadAll(r)
	if string(rest) != "st" || !errors.Is(err, lost) {
		t.Errorf("at the end: got %q, %v, want what was held and the error", rest, err)
	}
}

func TestReplacerKeepsReaderRules(t *testing.T) {
	in := strings.Repeat("some stub_a_1 text ", 50)
	want := strings.ReplaceAll(in, "stub_a_1", "v")
	if err := iotest.TestReader(newReplacer(strings.NewReader(in), []string{"stub_a_1"}, []string{"v"}), []byte(want)); err != nil {
		t.Error(err)
	}
	_, err := io.ReadAll(newReplacer(&pieces{data: []byte("x"), cuts: []byte{0}}, []string{"ab"}, []string{""}))
	if !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a source that never brings anything: %v", err)
	}
}

func TestReplacerEarly(t *testing.T) {
	src, feed := io.Pipe()
	r := newReplacer(src, []string{"secret", "secrets!"}, []string{"******", "********"})
	r.early = 3
	buf := make([]byte, 100)
	for _, step := range []struct{ in, out string }{
		{"s", "s"},
		{"e", "e"},
		{"c", "c"},
		{"ret ", "*** "},
		{"sec", "sec"},
		{"ond ", "ond "},
		{"secrets", "sec"},
		{"!", "*****"},
		{"se", "se"},
		{"se", "se"},
		{"cret.", "****."},
	} {
		go send(feed, step.in)
		n, err := io.ReadFull(r, buf[:len(step.out)])
		if err != nil || string(buf[:n]) != step.out {
			t.Fatalf("after %q: got %q, %v, want %q", step.in, buf[:n], err, step.out)
		}
	}
}

// FuzzSwap puts two stubs between any bytes and cuts them anyhow: the outcome is that of
// replacing in the whole, and with the way back the bytes are those at the beginning.
func FuzzSwap(f *testing.F) {
	f.Add([]byte("a"), []byte("b"), []byte("c"), []byte{1}, "stub_token", "stub_token_2")
	f.Add([]byte("stub_"), []byte("_2"), []byte(""), []byte{3, 0, 5}, "stub_token_2", "stub_token")
	f.Add([]byte("aaa"), []byte("abab"), []byte("ba"), []byte{2, 1}, "aab", "abaab")
	f.Fuzz(func(t *testing.T, a, b, c, cuts []byte, one, two string) {
		patterns := []string{one, two, one + two, "stub_x_00000000"}
		with := []string{"<one stub_x_00000000>", "", "<both>", one}
		in := string(a) + one + string(b) + two + "stub_x_00000000" + string(c)
		if newMatcher(patterns) == nil {
			return
		}
		for i := range cuts { // hundreds of empty reads in a row are an error
			cuts[i] = max(cuts[i], 1)
		}
		want := naive(in, patterns, with)
		got, err := io.ReadAll(newReplacer(&pieces{data: []byte(in), cuts: cuts}, patterns, with))
		if err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
		same := newReplacer(&pieces{data: []byte(in), cuts: cuts}, patterns, patterns)
		same.early = math.MaxInt
		if got, err := io.ReadAll(same); err != nil || string(got) != in {
			t.Fatalf("watched: got %q, %v, want %q", got, err, in)
		}
		back(t, in, cuts)
	})
}

// back checks that swapping and scrubbing, in pieces, undo each other.
func back(t *testing.T, in string, cuts []byte) {
	t.Helper()
	const stub, value = "stub_x_00000000", "ghp_0123456789"
	if strings.Contains(strings.ReplaceAll(in, stub, ""), "ghp_") {
		return
	}
	k := New([]Credential{{"X", stub, value}}, nil, nil, BodiesText)
	s := &swapping{keys: k}
	there := s.opener(text, "text/plain")(&pieces{data: []byte(in), cuts: cuts})
	got, err := io.ReadAll(k.scrub.inText(there))
	if err != nil || string(got) != in {
		t.Fatalf("there and back: got %q, %v, want %q", got, err, in)
	}
	there = s.opener(text, "text/plain")(&pieces{data: []byte(in), cuts: cuts})
	got, err = io.ReadAll(&replacer{src: there, m: k.scrub.m, on: func(id int) string { return k.scrub.masks[id] }})
	if err != nil || bytes.Contains(got, []byte(value)) {
		t.Fatalf("masked: got %q, %v", got, err)
	}
}

func BenchmarkReplacer(b *testing.B) {
	random := make([]byte, 1<<20)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(random)
	prose := []byte(strings.Repeat("{\"subject\":\"the stubborn student studies subtle things\",\"number\":12345},\n", 15<<10))
	var stubs []string
	var creds []Credential
	for i := range 300 {
		name := fmt.Sprintf("SERVICE_%d_TOKEN", i)
		value := make([]byte, 30)
		_, _ = source.Read(value)
		stubs = append(stubs, Stub([]byte("key"), "session", name))
		creds = append(creds, Credential{name, stubs[i], fmt.Sprintf("ghp_%x", value)})
	}
	scrub := newScrubber(creds)
	for _, bb := range []struct {
		name string
		m    *matcher
		data []byte
	}{
		{"stubs in random", newMatcher(stubs), random},
		{"stubs in prose", newMatcher(stubs), prose},
		{"values in random", scrub.m, random},
		{"values in prose", scrub.m, prose},
		{"stub beginnings", newMatcher(stubs), []byte(strings.Repeat("stub_service_", 80<<10))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(bb.data)))
			b.ReportAllocs()
			for b.Loop() {
				r := &replacer{src: bytes.NewReader(bb.data), m: bb.m, on: func(int) string { return "" }}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
