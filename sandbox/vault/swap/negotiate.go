package swap

import (
	"net/http"
	"strconv"
	"strings"
)

// negotiate takes out of h what would bring an answer that cannot be looked through: other
// encodings, and parts, which could be chosen to cut a value in two.
func negotiate(h http.Header) {
	encoding := "identity"
	if acceptsGzip(h) {
		encoding = "gzip"
	}
	h.Set("Accept-Encoding", encoding) // without one, http.Transport would ask for gzip
	h.Del("Range")
	h.Del("If-Range")
	h.Del("Sec-Websocket-Extensions")
	if te := strings.Join(h.Values("Te"), ","); te != "" {
		h.Del("Te")
		if strings.Contains(strings.ToLower(te), "trailers") {
			h.Set("Te", "trailers") // gRPC insists on it, and trailers are readable
		}
	}
}

// acceptsGzip reports whether the Accept-Encoding of h has gzip, or * without refusing it.
func acceptsGzip(h http.Header) bool {
	accepted := false
	for _, line := range h.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(strings.ToLower(line), ",") {
			name, params, _ := strings.Cut(item, ";")
			switch strings.TrimSpace(name) {
			case "gzip", "x-gzip":
				return !refused(params)
			case "*":
				accepted = !refused(params)
			}
		}
	}
	return accepted
}

func refused(params string) bool {
	name, weight, ok := strings.Cut(params, "=")
	if !ok || strings.TrimSpace(name) != "q" {
		return false
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
	return err == nil && q == 0
}
