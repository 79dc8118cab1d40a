package gateway

import (
	"bytes"
	"slices"
)

// imageTokens is what an image counts in an estimate, however many bytes it has.
const imageTokens = 1_500

// blobs are members whose strings are files, as base64 or as a data URL.
var blobs = []string{"url", "image_url", "image", "data", "file_data", "b64_json"}

// minBlob is the length from which a string may be one of those.
const minBlob = 1 << 10

// maxOdd is how many bytes of a data URL are not base64 at most: they stand before it.
const maxOdd = 16

// base64Byte has the bytes of base64.
var base64Byte = func() (is [256]bool) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_") {
		is[b] = true
	}
	return is
}()

// isBlob reports whether a string is a file. What only begins like one is text, which costs
// by its length.
func isBlob(key, begin []byte, size, odd int) bool {
	if odd > maxOdd || !slices.Contains(blobs, string(key)) {
		return false
	}
	return size >= minBlob || bytes.HasPrefix(begin, []byte("data:")) && bytes.Contains(begin, []byte(";base64,"))
}

// estimateInput is about how many tokens a request has: its bytes without those of
// images, and what the images count.
func estimateInput(body []byte) int64 {
	var images, imageBytes int64
	s := jsonScan{str: func(key, begin []byte, size, odd int) {
		if isBlob(key, begin, size, odd) {
			images++
			imageBytes += int64(size)
		}
	}}
	s.write(body)
	return (int64(len(body))-imageBytes+bytesPerToken-1)/bytesPerToken + images*imageTokens
}
