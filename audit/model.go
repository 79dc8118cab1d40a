package audit

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// The model of the scripted gateway, and what it must be told to fail.
const (
	goodModel = "audit/good"
	failWord  = "please fail"
)

// gateway is a model gateway that takes one key, and repeats it in every answer.
func gateway(key string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		given := r.Header.Get("Authorization")
		body, err := io.ReadAll(r.Body)
		if err != nil || given != "Bearer "+key || bytes.Contains(body, []byte(failWord)) {
			w.Header().Set("X-Given", given)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"error":{"message":"the key %s is wrong","type":"auth_error"}}`, given) // who asked may be gone
			return
		}
		w.Header().Set("X-Given", given)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, frame := range []string{
			`{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"` + given + `"},"finish_reason":"stop"}]}`,
			`[DONE]`,
		} {
			_, _ = io.WriteString(w, "data: "+frame+"\n\n")
		}
	})
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Given", r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"`+goodModel+`","object":"model"}]}`)
	})
	return mux
}
