package api

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxAttachments   = 10
	maxAttachment    = 6_990_506 // base64 characters, which stand for 5 MiB
	maxAttachedName  = 255
	base64Characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
)

// imageTypes are the media types that attachments can have.
var imageTypes = []string{"image/png", "image/jpeg", "image/gif", "image/webp"}

// userTurn returns the parts of a user turn: its text, unless empty, then its images.
func userTurn(text *string, images []json.RawMessage) []json.RawMessage {
	if text == nil || *text == "" {
		return images
	}
	first, err := json.Marshal(struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}{"text", *text})
	if err != nil {
		panic(err) // strings always encode
	}
	return append([]json.RawMessage{first}, images...)
}

// attachments reads an optional array of attachments, as image parts.
func attachments(in *object, name string) []json.RawMessage {
	list := in.Array(name)
	if len(list) > maxAttachments {
		in.fail(name, "at most %d, has %d", maxAttachments, len(list))
		return nil
	}
	var parts []json.RawMessage
	for _, v := range list {
		if o := v.object(); o != nil {
			parts = append(parts, attachment(o))
		}
	}
	return parts
}

func attachment(o *object) json.RawMessage {
	mime := requiredText(o, "mime_type")
	if o.has("mime_type") && !slices.Contains(imageTypes, mime) {
		o.fail("mime_type", "must be one of %s", strings.Join(imageTypes, ", "))
	}
	if name := o.Text("name"); name != nil && utf8.RuneCountInString(*name) > maxAttachedName {
		o.fail("name", "at most %d characters", maxAttachedName)
	}
	data := o.Required("base64")
	switch {
	case len(data) > maxAttachment:
		o.fail("base64", "too large: at most %d characters, which is 5 MiB", maxAttachment)
	case !isBase64(data):
		o.fail("base64", "is not base64")
	}
	return imagePart(mime, data)
}

// isBase64 reports whether text decodes in the standard alphabet, padded or not.
func isBase64(text string) bool {
	bare := strings.TrimRight(text, "=")
	padding := len(text) - len(bare)
	return strings.Trim(bare, base64Characters) == "" && len(bare)%4 != 1 &&
		(padding == 0 || padding <= 2 && len(text)%4 == 0)
}

// imagePart puts the part together by hand: neither member needs an escape, and
// attachments are large.
func imagePart(mime, data string) json.RawMessage {
	var b bytes.Buffer
	b.Grow(len(data) + 128)
	b.WriteString(`{"type":"image","source":{"type":"base64","media_type":"` + mime + `","data":"`)
	b.WriteString(data)
	b.WriteString(`"}}`)
	return b.Bytes()
}
