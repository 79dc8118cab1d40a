package api

import (
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"

	"github.com/julienschmidt/httprouter"
)

// typeTar is the media type of a directory.
const typeTar = "application/x-tar"

// readFile answers GET /sessions/{session_id}/files?path=P with a file of the sandbox, or
// a directory as a tar archive.
func (a *API) readFile(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	name, err := a.filePath(r, p)
	if err != nil {
		return err
	}
	return a.download(w, r, p, "/files?path="+url.QueryEscape(name), func(h http.Header, given string) {
		base := path.Base(path.Clean("/" + name))
		h.Set("Content-Type", "application/octet-stream") // whatever is in the file, no browser is to run it
		if given == typeTar {
			base += ".tar"
			h.Set("Content-Type", typeTar)
		}
		h.Set("Content-Disposition", attached(base))
	})
}

// readDiff answers GET /sessions/{session_id}/diff with the changes in the working tree.
func (a *API) readDiff(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.messaged(r, p)
	if err != nil {
		return err
	}
	return a.download(w, r, p, "/diff", func(h http.Header, _ string) {
		h.Set("Content-Type", "text/x-diff; charset=utf-8")
		h.Set("Content-Disposition", attached(s.ID+".diff"))
	})
}

// attached is the header of something to be saved under the given name.
func attached(name string) string {
	if text := mime.FormatMediaType("attachment", map[string]string{"filename": name}); text != "" {
		return text
	}
	return "attachment"
}

// filePath returns the path in the sandbox that a request is about.
func (a *API) filePath(r *http.Request, p httprouter.Params) (string, error) {
	if _, err := a.messaged(r, p); err != nil {
		return "", err
	}
	name := r.URL.Query().Get("path")
	if name == "" {
		return "", invalid("path: is required")
	}
	return name, nil
}

// download passes on what the guest answers under path. head sets the headers for what
// has the given media type.
func (a *API) download(w http.ResponseWriter, r *http.Request, p httprouter.Params, path string, head func(h http.Header, given string)) error {
	id := p.ByName("session_id")
	guest, release, err := a.guest(r.Context(), id)
	if err != nil {
		return turnError(err, id)
	}
	defer release()
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, guestURL+path, nil)
	if err != nil {
		return err
	}
	res, err := guest.Do(req)
	if err != nil {
		return (&upload{}).failure(r.Context(), errGuest)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return refusal(res)
	}
	h := w.Header()
	head(h, res.Header.Get("Content-Type"))
	h.Set("X-Content-Type-Options", "nosniff")
	if res.ContentLength >= 0 {
		h.Set("Content-Length", strconv.FormatInt(res.ContentLength, 10))
	}
	if err := a.newRelay(w).send(r, http.StatusOK, res.Body); err != nil {
		clear(h)
		return errGuest
	}
	return nil
}

// writeFile answers PUT /sessions/{session_id}/files?path=P: the body becomes the file,
// or is unpacked into the directory. It is passed on as it comes, however large.
func (a *API) writeFile(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	name, err := a.filePath(r, p)
	if err != nil {
		return err
	}
	id := p.ByName("session_id")
	guest, release, err := a.guest(r.Context(), id)
	if err != nil {
		return turnError(err, id)
	}
	defer release()
	body := &upload{ReadCloser: r.Body}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPut, guestURL+"/files?path="+url.QueryEscape(name), nil)
	if err != nil {
		return err
	}
	body.fill(req, r.ContentLength)
	if kind := r.Header.Get("Content-Type"); kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := guest.Do(req)
	if err != nil {
		return body.failure(r.Context(), errGuest)
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusMultipleChoices {
		return refusal(res)
	}
	return noContent(w)
}
