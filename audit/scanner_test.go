package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

const secret = "5f0c1a9e7b3d2468ace013579bdf2468"

func scan(t *testing.T, in io.Reader) (spellings []string, times int) {
	t.Helper()
	s, err := NewScanner(map[string][]byte{"secret": []byte(secret), "another": []byte("00112233445566778899aabbccddeeff")})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	if _, err := s.Scan(in, func(f find) {
		if f.secret != "secret" {
			t.Errorf("found %s", f.secret)
		}
		known[f.spelling] = true
		times++
	}); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(known)), times
}

func TestScannerFindsSpellings(t *testing.T) {
	everyByte := func(format func(byte) string) string {
		var b strings.Builder
		for i := range len(secret) {
			b.WriteString(format(secret[i]))
		}
		return b.String()
	}
	tests := []struct{ name, text, want string }{
		{"plain", "key=" + secret, "plain"},
		{"in a URL", url.QueryEscape("a b&" + secret + "/"), "plain"},
		{"in JSON", strconv.Quote("\n" + secret), "plain"},
		{"hex", hex.EncodeToString([]byte("x" + secret)), "hex"},
		{"hex in upper case", strings.ToUpper(hex.EncodeToString([]byte(secret))), "hex"},
		{"base64, first alignment", base64.StdEncoding.EncodeToString([]byte(secret)), "base64"},
		{"base64, second alignment", base64.StdEncoding.EncodeToString([]byte("u" + secret + "!")), "base64"},
		{"base64, third alignment", base64.URLEncoding.EncodeToString([]byte("u:" + secret + "??")), "base64"},
		{"every byte URL-encoded", everyByte(func(c byte) string { return "%" + strings.ToUpper(hex.EncodeToString([]byte{c})) }), "URL-encoded"},
		{"every byte JSON-escaped", everyByte(func(c byte) string { return `\u00` + hex.EncodeToString([]byte{c}) }), "JSON-escaped"},
		{"cut off at the end", "key=" + secret[:16] + "...", "plain"},
		{"cut off at the beginning", "..." + secret[16:], "plain"},
		{"in two pieces", secret[:9] + "\n" + secret[9:], "plain"},
		{"too little of it", secret[:15], ""},
		{"none", "nothing " + strings.ToUpper(secret), ""},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := scan(t, strings.NewReader(tt.text))
			if strings.Join(got, " ") != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

// TestScannerFindsEverywhere puts a secret around the borders of what is read at once.
func TestScannerFindsEverywhere(t *testing.T) {
	noise := make([]byte, 2*block+100)
	for i := range noise {
		noise[i] = byte(rand.IntN(256))
	}
	s, err := NewScanner(map[string][]byte{"secret": []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	for _, border := range []int{0, block, 2 * block, len(noise)} {
		for at := border - s.longest - 50; at <= border+50; at += 3 {
			if at < 0 || at+len(secret) > len(noise) {
				continue
			}
			text := slices.Clone(noise[:min(len(noise), at+len(secret)+300)])
			copy(text[at:], secret)
			var before [][]byte
			if _, err := s.Scan(bytes.NewReader(text), func(f find) { before = append(before, slices.Clone(f.before)) }); err != nil {
				t.Fatal(err)
			}
			if len(before) != 2 || !bytes.Equal(before[0], text[max(0, at-around):at]) {
				t.Fatalf("at %d: found %d pieces, want 2, with context", at, len(before))
			}
		}
	}
}

func TestScannerReadsSlowly(t *testing.T) {
	if _, n := scan(t, iotest.OneByteReader(strings.NewReader(strings.Repeat("x", 100)+secret+secret))); n != 4 {
		t.Errorf("found %d pieces, want 4", n)
	}
}

func TestScannerErrors(t *testing.T) {
	if _, err := NewScanner(map[string][]byte{"short": []byte("123456789012345")}); err == nil {
		t.Error("a secret of 15 bytes is taken")
	}
	s, err := NewScanner(map[string][]byte{"secret": []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Scan(iotest.ErrReader(io.ErrClosedPipe), func(find) {}); err == nil {
		t.Error("an error of what is read is lost")
	}
}
