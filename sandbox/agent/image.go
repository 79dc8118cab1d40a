package agent

import (
	"bytes"
	"crypto/rand"
	"slices"
	"strings"
)

const (
	imageLimit = 24 << 20 // bytes of data: URLs that stay in a model's context
	leftOut    = "[image left out]"
)

// omit takes the bytes of an image out of a user's part: the thread and its events hold
// only what kind of image it was, and how large.
func (p Part) omit() Part {
	switch p.Type {
	case "image":
		p.Source, p.URL = &Source{Type: "omitted", MediaType: p.Source.MediaType, Bytes: decodedSize(p.Source.Data)}, ""
	case "file":
		p.Source, p.URL = &Source{Type: "omitted", MediaType: p.Mime, Bytes: dataSize(p.URL)}, ""
	default:
		p.Source, p.URL = nil, ""
	}
	return p
}

// dataSize is how many bytes a data: URL stands for.
func dataSize(url string) int {
	head, data, _ := strings.Cut(url, ",")
	if strings.HasSuffix(head, ";base64") {
		return decodedSize(data)
	}
	return len(data) - 2*strings.Count(data, "%")
}

// decodedSize is how many bytes a base64 text stands for.
func decodedSize(data string) int { return len(strings.TrimRight(data, "=")) * 3 / 4 }

// leaveOut takes images out of the history, except for the newest that have keep bytes
// together and those of the entries from own on. It reports whether there were any.
func (h *history) leaveOut(keep, own int) bool {
	found := false
	for i, u := range slices.Backward(h.entries) {
		var notes, rest content
		for _, p := range slices.Backward(u.Content) {
			if p.Image != nil {
				keep -= len(p.Image.URL)
				if keep < 0 && i < own {
					notes = append(notes, piece{Type: "text", Text: leftOut})
					continue
				}
			}
			rest = append(rest, p)
		}
		if len(notes) > 0 {
			slices.Reverse(rest)
			h.entries[i].Content = append(notes, rest...) // what the user wrote stays last
			found = true
		}
	}
	if found {
		h.used = 0
	}
	return found
}

// newest is where the user spoke last, or the end.
func (h *history) newest() int {
	for i, u := range slices.Backward(h.entries) {
		if u.Role == "user" {
			return i
		}
	}
	return len(h.entries)
}

// spare leaves out images because a question was too large: those of older messages
// first. When a whole body was refused and only new ones are left, the older half of
// these. It returns false when images are not what could make room.
func (h *history) spare(body bool) bool {
	if h.leaveOut(0, h.newest()) {
		return true
	}
	return body && h.leaveOut(h.imageBytes()/2, len(h.entries))
}

func (h *history) imageBytes() int {
	n := 0
	for _, u := range h.entries {
		n += u.Content.imageBytes()
	}
	return n
}

func (c content) imageBytes() int {
	n := 0
	for _, p := range c {
		if p.Image != nil {
			n += len(p.Image.URL)
		}
	}
	return n
}

// encode is the JSON of q. Images, which are most of its bytes where there are any, are
// copied once: encoding/json would hold several copies of them at a time.
func (q question) encode() ([]byte, error) {
	var images []*image
	size, mark := 0, rand.Text() // which no other text in q contains
	messages := slices.Clone(q.Messages)
	for i, u := range messages {
		size += u.Content.imageBytes()
		messages[i].Content = u.Content.marked(mark, &images)
	}
	q.Messages = messages
	frame, err := encode(q)
	if err != nil || len(images) == 0 {
		return frame, err
	}
	body := make([]byte, 0, len(frame)+size)
	for _, img := range images {
		before, after, _ := bytes.Cut(frame, []byte(mark))
		body = append(body, before...)
		if body, err = appendInner(body, img.URL); err != nil {
			return nil, err
		}
		frame = after
	}
	return append(body, frame...), nil
}

// appendInner appends s as it stands between the quotes of a JSON string.
func appendInner(to []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := encode(s)
			if err != nil {
				return nil, err
			}
			return append(to, quoted[1:len(quoted)-1]...), nil
		}
	}
	return append(to, s...), nil
}

// marked returns c with mark in place of each image's URL. The images go into found.
func (c content) marked(mark string, found *[]*image) content {
	if c.imageBytes() == 0 {
		return c
	}
	c = slices.Clone(c)
	for i, p := range c {
		if p.Image != nil {
			*found = append(*found, p.Image)
			c[i].Image = &image{mark}
		}
	}
	return c
}
