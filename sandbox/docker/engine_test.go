package docker_test

import (
	"archive/tar"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"lap/sandbox"
	"lap/sandbox/docker"
)

const api = "/v1.43"

// engine is a Docker engine with one volume. Its containers never run anything.
type engine struct {
	http.ServeMux               // what a test answers in its own way, with api before the path
	quit          chan struct{} // closed at the end of the test, or before by wake
	wake          func()        // ends what hangs

	mu         sync.Mutex                   // guards what follows
	containers map[string]map[string]string // labels by name, which is the id as well
	volume     bool
	size       int64 // of lap in the volume; 0: it is not there
	copies     int
	state      string // of every container
}

// newEngine starts an engine and returns a Docker that uses it.
func newEngine(t *testing.T) (*engine, *docker.Docker) {
	t.Helper()
	dir, err := os.MkdirTemp("", "lap") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{quit: make(chan struct{}), containers: map[string]map[string]string{}, state: "exited"}
	e.wake = sync.OnceFunc(func() { close(e.quit) })
	server := httptest.NewUnstartedServer(http.HandlerFunc(e.serve))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(func() { e.wake(); server.Close() })
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	guest := filepath.Join(dir, "lap")
	write(t, guest, emptyELF())
	return e, docker.New(docker.Config{Owner: "me", Guest: guest})
}

const guestSize = 64 // bytes

// emptyELF is the least that passes for a static binary.
func emptyELF() string {
	b := make([]byte, guestSize)
	copy(b, "\x7fELF\x02\x01\x01")
	b[16], b[18], b[20] = 2, 62, 1
	return string(b)
}

func (e *engine) serve(w http.ResponseWriter, r *http.Request) {
	if _, pattern := e.Handler(r); pattern != "" {
		e.ServeHTTP(w, r)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.43") })
	mux.HandleFunc("GET "+api+"/version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"Version":"24.0.1"}`) })
	mux.HandleFunc("GET "+api+"/info", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"Architecture":"x86_64","NCPU":2}`)
	})
	mux.HandleFunc("GET "+api+"/volumes/{name}", func(w http.ResponseWriter, _ *http.Request) {
		if !e.volume {
			refuse(w, http.StatusNotFound, "no such volume")
			return
		}
		fmt.Fprint(w, `{}`)
	})
	mux.HandleFunc("POST "+api+"/volumes/create", func(w http.ResponseWriter, _ *http.Request) {
		e.volume = true
		fmt.Fprint(w, `{}`)
	})
	mux.HandleFunc("POST "+api+"/containers/create", func(w http.ResponseWriter, r *http.Request) { e.create(w, r) })
	mux.HandleFunc("GET "+api+"/containers/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		if e.state == "" {
			refuse(w, http.StatusNotFound, "no such container")
			return
		}
		id := r.PathValue("id")
		labels, _ := json.Marshal(e.containers[id])
		fmt.Fprintf(w, `{"Id":%q,"State":{"Status":%q},"Config":{"Labels":%s}}`, id, e.state, labels)
	})
	mux.HandleFunc("DELETE "+api+"/containers/{id}", func(_ http.ResponseWriter, r *http.Request) { delete(e.containers, r.PathValue("id")) })
	mux.HandleFunc(api+"/containers/{id}/archive", e.archive)
	mux.ServeHTTP(w, r)
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"message":%q}`, message)
}

// create makes a container; the caller holds mu.
func (e *engine) create(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if _, taken := e.containers[name]; taken {
		refuse(w, http.StatusConflict, "the name is in use")
		return
	}
	var conf struct{ Labels map[string]string }
	if err := json.NewDecoder(r.Body).Decode(&conf); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	e.containers[name] = conf.Labels
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"Id":%q}`, name)
}

func (e *engine) archive(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		if e.size == 0 {
			refuse(w, http.StatusNotFound, "no such file")
			return
		}
		stat, _ := json.Marshal(map[string]any{"name": "lap", "size": e.size})
		w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString(stat))
		return
	}
	files := tar.NewReader(r.Body)
	for _, err := files.Next(); err == nil; _, err = files.Next() {
		e.size, _ = io.Copy(io.Discard, files)
	}
	e.copies++
}

// hang answers pattern only when the client gives up, or at wake. asked is told of each request
// and gone of its end.
func (e *engine) hang(pattern string) (asked, gone chan struct{}) {
	asked, gone = make(chan struct{}, 99), make(chan struct{}, 99)
	e.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 512) // else the server does not see that the client gives up
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-e.quit:
		}
		gone <- struct{}{}
	})
	return asked, gone
}

func (e *engine) left() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.containers))
}

func (e *engine) copied() (times int, size int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.copies, e.size
}

func (e *engine) set(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func spec(session string) sandbox.Spec {
	return sandbox.Spec{Session: session, Agent: "a", Generation: 1, Image: "i"}
}
