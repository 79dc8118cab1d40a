package api

import (
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"lap/db"
)

// An egressReply is one connection of a sandbox on the wire.
type egressReply struct {
	Timestamp     stamp  `json:"timestamp"`
	Host          string `json:"host"`
	Port          int    `json:"port"`
	Address       string `json:"address"`
	Via           string `json:"via"`
	Rule          string `json:"rule"`
	Reason        string `json:"reason,omitempty"`
	Refused       bool   `json:"refused"`
	Opened        bool   `json:"opened"`
	BytesSent     int64  `json:"bytes_sent"`
	BytesReceived int64  `json:"bytes_received"`
	DurationMS    int64  `json:"duration_ms"`
}

func newEgressReply(e db.Egress) egressReply {
	return egressReply{
		Timestamp: stamp(e.At), Host: e.Host, Port: e.Port, Address: e.Address, Via: e.Via, Rule: e.Rule, Reason: e.Reason,
		Refused: e.Refused, Opened: e.Opened, BytesSent: e.Sent, BytesReceived: e.Received,
		DurationMS: int64(e.Duration / time.Millisecond),
	}
}

// A watchedReply is a list of what was seen of a sandbox, of which not all is kept.
type watchedReply[T any] struct {
	listReply[T]
	Dropped int64 `json:"dropped"`
}

// listEgress answers GET /sessions/{session_id}/egress: the connections that are kept,
// oldest first, and how many are kept no more.
func (a *API) listEgress(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.watched(r, p)
	if err != nil {
		return err
	}
	pg := parsePage(r.URL.Query())
	rows, total, err := a.cfg.Store.Egress(r.Context(), s.ID, pg.limit, pg.offset)
	if err != nil {
		return err
	}
	dropped, err := a.cfg.Store.EgressDropped(r.Context(), s.ID)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, watchedReply[egressReply]{list(pg, rows, total, newEgressReply), dropped})
}

// An interceptionReply is one request of a sandbox on the wire.
type interceptionReply struct {
	Timestamp   stamp                   `json:"timestamp"`
	Method      string                  `json:"method"`
	Host        string                  `json:"host"`
	Path        string                  `json:"path"`
	Stubs       []string                `json:"stubs_swapped"`
	Fingerprint []db.SwappedCredential  `json:"real_value_fingerprint"`
	Blocked     bool                    `json:"blocked,omitempty"`
	Status      int                     `json:"status,omitempty"`
	Note        string                  `json:"note,omitempty"`
	Declined    []db.DeclinedCredential `json:"declined,omitempty"`
}

func newInterceptionReply(i db.Interception) interceptionReply {
	out := interceptionReply{
		Timestamp: stamp(i.At), Method: i.Method, Host: i.Host, Path: i.Path, Stubs: []string{}, Fingerprint: filled(i.Swapped),
		Blocked: i.Blocked, Status: i.Status, Note: i.Note, Declined: i.Declined,
	}
	for _, swapped := range i.Swapped {
		out.Stubs = append(out.Stubs, swapped.Stub)
	}
	return out
}

// listInterceptions answers GET /sessions/{session_id}/interceptions: like listEgress.
func (a *API) listInterceptions(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.watched(r, p)
	if err != nil {
		return err
	}
	pg := parsePage(r.URL.Query())
	rows, total, err := a.cfg.Store.Interceptions(r.Context(), s.ID, pg.limit, pg.offset)
	if err != nil {
		return err
	}
	dropped, err := a.cfg.Store.InterceptionsDropped(r.Context(), s.ID)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, watchedReply[interceptionReply]{list(pg, rows, total, newInterceptionReply), dropped})
}

// watched returns the session that the path names, with all that was seen of it stored.
func (a *API) watched(r *http.Request, p httprouter.Params) (db.Session, error) {
	s, err := a.sessionState(r, p)
	if err != nil {
		return db.Session{}, err
	}
	return s, a.cfg.Engine.FlushEgress(r.Context())
}

// listVaultKeys answers GET /sessions/{session_id}/vault-keys: names, never values.
func (a *API) listVaultKeys(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.sessionState(r, p)
	if err != nil {
		return err
	}
	names, err := a.cfg.Engine.VaultKeys(r.Context(), s)
	if err != nil {
		return err
	}
	pg := parsePage(r.URL.Query())
	return reply(w, http.StatusOK, list(pg, pageOf(pg, names), len(names), func(name string) string { return name }))
}
