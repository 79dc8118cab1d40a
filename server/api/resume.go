package api

import (
	"net/http"
	"strconv"
)

const lastEventID = "Last-Event-ID"

// resumeAfter returns the event after which a client wants to go on, which lies no
// further than the newest; -1 when it does not say. The query after wins over the header.
func resumeAfter(r *http.Request, newest int64) (int64, error) {
	name, text := "after", ""
	if q := r.URL.Query(); q.Has(name) {
		text = q.Get(name)
	} else if name, text = lastEventID, r.Header.Get(lastEventID); text == "" {
		return -1, nil
	}
	after, err := strconv.ParseUint(text, 10, 63)
	switch {
	case err != nil:
		return 0, invalid("%s: must be the id of an event, an integer from 0 on", name)
	case int64(after) > newest:
		return 0, invalid("%s: lies beyond the newest event, %d", name, newest)
	}
	return int64(after), nil
}
