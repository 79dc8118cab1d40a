package api

import (
	"net/http"
	"strings"

	"github.com/julienschmidt/httprouter"
)

// A handler answers one route. It returns an error only when it has written nothing.
type handler func(w http.ResponseWriter, r *http.Request, p httprouter.Params) error

// An access says who besides the owner of the master key may use a route.
type access struct {
	public bool   // everybody
	scope  string // agents with this scope, on what is their own
}

var (
	master = access{}
	public = access{public: true}
)

func agents(scope string) access { return access{scope: scope} }

// The scopes of agent tokens that routes ask for.
const (
	scopeMemory = "memory"
	scopeSkills = "skills"
)

// agentScopes are the scopes of an agent that speaks from its own sandbox.
var agentScopes = []string{scopeMemory, scopeSkills}

// A route is one method on one path.
type route struct {
	method string
	path   string
	access access
	handle handler
}

// routes are all routes of the API.
func (a *API) routes() []route {
	const (
		managed = "/api/v1/managed_agents"
		agent   = managed + "/agents/:agent_id"
		sess    = managed + "/sessions/:session_id"
		skills  = "/api/v1/skills"
		memory  = agent + "/memory"
		fixture = "/api/v1/fixture"
	)
	return append(a.metricsRoute(), []route{
		{"GET", "/healthz", public, a.health},
		{"GET", "/api/v1/health/sandbox", master, a.sandboxHealth},
		{"GET", "/api/v1/health/docker", master, a.dockerHealth},
		{"GET", "/api/v1/health/k8s", master, a.dockerHealth},

		{"GET", managed + "/agents", master, a.listAgents},
		{"POST", managed + "/agents", master, a.createAgent},
		{"GET", agent, master, a.readAgent},
		{"PATCH", agent, master, a.patchAgent},
		{"DELETE", agent, master, a.deleteAgent},
		{"POST", agent + "/skill", master, a.attachSkill},
		{"DELETE", agent + "/skill", master, a.detachSkill},

		{"POST", agent + "/session", master, a.createSession},
		{"GET", managed + "/sessions", master, a.listSessions},
		{"GET", sess, master, a.readSession},
		{"DELETE", sess, master, a.deleteSession},
		{"POST", sess + "/stop", master, a.stopSession},
		{"POST", sess + "/message", master, a.sendMessage},
		{"GET", sess + "/messages", master, a.listMessages},
		{"POST", sess + "/message_stream", master, a.streamMessage},
		{"GET", sess + "/events", master, a.streamEvents},
		{"GET", sess + "/stream", master, a.streamSession},
		{"GET", sess + "/log", master, a.sessionLog},
		{"POST", sess + "/abort", master, a.abortTurn},
		{"POST", sess + "/restart", master, a.restartSession},
		{"POST", sess + "/phase", public, a.reportPhase}, // with a token of its own
		{"GET", sess + "/sandbox_logs", master, a.sandboxLogs},
		{"GET", sess + "/diagnose", master, a.diagnose},
		{"GET", sess + "/egress", master, a.listEgress},
		{"GET", sess + "/interceptions", master, a.listInterceptions},
		{"GET", sess + "/vault-keys", master, a.listVaultKeys},
		{"GET", sess + "/files", master, a.readFile},
		{"PUT", sess + "/files", master, a.writeFile},
		{"GET", sess + "/diff", master, a.readDiff},
		{"GET", sess + "/memory", agents(scopeMemory), a.listSessionMemories},
		{"POST", sess + "/memory", agents(scopeMemory), a.createSessionMemory},
		{"GET", sess + "/opencode/*path", master, a.passthrough},
		{"POST", sess + "/opencode/*path", master, a.passthrough},
		{"PUT", sess + "/opencode/*path", master, a.passthrough},
		{"PATCH", sess + "/opencode/*path", master, a.passthrough},
		{"DELETE", sess + "/opencode/*path", master, a.passthrough},

		{"GET", skills, master, a.listSkills},
		{"POST", skills, master, a.createSkill},
		{"GET", skills + "/:skill_id", master, a.readSkill},
		{"PATCH", skills + "/:skill_id", agents(scopeSkills), a.patchSkill},
		{"DELETE", skills + "/:skill_id", master, a.deleteSkill},

		{"GET", memory, agents(scopeMemory), a.listMemories},
		{"POST", memory, agents(scopeMemory), a.createMemory},
		{"PATCH", memory + "/:memory_id", agents(scopeMemory), a.patchMemory},
		{"DELETE", memory + "/:memory_id", agents(scopeMemory), a.deleteMemory},

		{"GET", fixture + "/clock", master, a.controlled(a.readClock)},
		{"POST", fixture + "/clock", master, a.controlled(a.moveClock)},
		{"GET", fixture + "/faults", master, a.controlled(a.listFaults)},
		{"POST", fixture + "/faults", master, a.controlled(a.armFaults)},
		{"DELETE", fixture + "/faults", master, a.controlled(a.clearFaults)},
		{"POST", fixture + "/reset", master, a.controlled(a.resetWorld)},
		{"GET", fixture + "/requests", master, a.controlled(a.listCalls)},
	}...)
}

// metricsRoute is empty when there are no metrics.
func (a *API) metricsRoute() []route {
	if a.cfg.Metrics == nil {
		return nil
	}
	to := master
	if a.cfg.OpenMetrics {
		to = public
	}
	return []route{{"GET", "/api/v1/metrics", to, a.metrics}}
}

// serve makes a route's handler one of the router.
func (a *API) serve(rt route) httprouter.Handle {
	return func(w http.ResponseWriter, r *http.Request, p httprouter.Params) {
		if rec, ok := w.(*recorder); ok {
			rec.route = rt.path
		}
		err := errUnauthorized
		if rt.access.admits(callerOf(r), p) {
			err = rt.handle(w, r, p)
		}
		if err != nil {
			a.fail(w, r, err)
		}
	}
}

// handle is serve for what the router finds no route for.
func (a *API) handle(h func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := errUnauthorized
		if callerOf(r) == nil {
			err = h(w, r)
		}
		a.fail(w, r, err)
	})
}

func unknownPath(http.ResponseWriter, *http.Request) error {
	return &requestError{http.StatusNotFound, "not found"}
}

func wrongMethod(w http.ResponseWriter, _ *http.Request) error {
	// The router counts OPTIONS as allowed everywhere; here nothing answers it.
	var allowed []string
	for method := range strings.SplitSeq(w.Header().Get("Allow"), ", ") {
		if method != http.MethodOptions {
			allowed = append(allowed, method)
		}
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return &requestError{http.StatusMethodNotAllowed, "method not allowed"}
}

// health answers GET /healthz.
func (a *API) health(w http.ResponseWriter, r *http.Request, _ httprouter.Params) error {
	if err := a.cfg.Store.Ping(r.Context()); err != nil {
		a.cfg.Log.ErrorContext(r.Context(), "database does not answer", "err", err)
		return &requestError{http.StatusServiceUnavailable, "the database does not answer"}
	}
	return reply(w, http.StatusOK, okReply{true})
}
