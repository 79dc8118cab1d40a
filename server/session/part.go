package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// previewLength is how many characters of the first message lists show.
const previewLength = 60

// A part is what lap itself looks at in a part of a message.
type part struct {
	Type      string `json:"type"`
	Text      string `json:"text"`
	Synthetic bool   `json:"synthetic"`
}

// preamble is text that lap, not the user, puts in front of a first turn.
func preamble(text string) json.RawMessage {
	b, err := json.Marshal(part{Type: "text", Text: text, Synthetic: true})
	if err != nil {
		panic(err) // strings always encode
	}
	return b
}

// modelError is the error that a reply tells of, or nil.
func modelError(answer json.RawMessage) error {
	var m struct {
		Info struct {
			Error *struct {
				Name string `json:"name"`
				Data struct {
					Message string `json:"message"`
				} `json:"data"`
			} `json:"error"`
		} `json:"info"`
	}
	if err := json.Unmarshal(answer, &m); err != nil || m.Info.Error == nil {
		return err
	}
	return fmt.Errorf("%s: %s", m.Info.Error.Name, m.Info.Error.Data.Message)
}

// How many characters a user is shown.
const (
	maxReason = 2000 // of an error
	maxDetail = 500  // of what a bring-up does
)

// oneLine is text on one line, cut at maxReason.
func oneLine(text string) string { return cutLine(text, maxReason) }

// cutLine is text on one line of at most n characters, without what does not print.
func cutLine(text string, n int) string {
	line := []rune(strings.Join(strings.Fields(strings.Map(visible, text)), " "))
	if len(line) > n {
		line = append(line[:n-1], '…')
	}
	return string(line)
}

// visible is r, white space as a blank, or -1 when r does not print.
func visible(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case !unicode.IsPrint(r):
		return -1
	}
	return r
}

// preview is the first text of a user turn on one line, or "" when it has none.
func preview(parts []json.RawMessage) string {
	for _, raw := range parts {
		var p part
		if json.Unmarshal(raw, &p) != nil || p.Type != "text" || p.Synthetic { // not a part lap knows: no preview
			continue
		}
		line := strings.Join(strings.Fields(p.Text), " ")
		if utf8.RuneCountInString(line) > previewLength {
			line = string([]rune(line)[:previewLength-1]) + "…"
		}
		if line != "" {
			return line
		}
	}
	return ""
}

// withoutImages returns parts as one JSON array in which images keep their kind and
// size only: image bytes are not written to the database. lossy reports whether there were any.
func withoutImages(parts []json.RawMessage) (stored json.RawMessage, lossy bool, err error) {
	kept := make([]any, len(parts))
	for i, raw := range parts {
		kept[i] = raw
		var p map[string]any
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, false, fmt.Errorf("part %d: %w", i, err)
		}
		if stripImage(p) {
			kept[i], lossy = p, true
		}
	}
	stored, err = encode(kept)
	return stored, lossy, err
}

// encode is json.Marshal without escapes for HTML, which would blow up source code.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// stripImage takes the bytes out of an image part, in either of the two forms that
// harnesses use, and reports whether it was one.
func stripImage(p map[string]any) bool {
	if source, ok := p["source"].(map[string]any); ok && p["type"] == "image" {
		data, _ := source["data"].(string)
		p["source"] = omitted(source["media_type"], len(data)*3/4)
		return true
	}
	if url, ok := p["url"].(string); ok && p["type"] == "file" && strings.HasPrefix(url, "data:") {
		_, data, _ := strings.Cut(url, ",")
		delete(p, "url")
		p["source"] = omitted(p["mime"], len(data)*3/4)
		return true
	}
	return false
}

func omitted(mediaType any, size int) map[string]any {
	return map[string]any{"type": "omitted", "media_type": mediaType, "bytes": size}
}
