package audit

import (
	"bytes"
	"slices"
)

// controls looks at what hosts were sent: each the real values that belong there, and no
// others.
func (a *audit) controls() {
	w := a.world
	saw := func(place string, h *host, may ...string) []string {
		return a.ledger.lookAt("what was sent to "+place, h.saw(), may...)
	}
	has := func(found []string, names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(found, name) })
	}
	// A credential that is bound to nothing goes where its agent's allow_out leads.
	a.hold(has(saw("the bound host", w.bound, bound, ofSession, ofRestart, unbound, operatorEnv), bound, ofSession, ofRestart),
		"real values of agent, session and restart reached the host they are bound to")
	a.hold(has(saw("the bound host over TLS", w.secure, bound, ofSession, unbound, operatorEnv), bound, ofSession),
		"real values of agent and session reached it over TLS")
	saw("the host that nothing is bound to", w.stranger)
	a.hold(bytes.Contains(w.stranger.saw(), []byte("stub_")), "stubs reached the host that nothing is bound to")
	a.hold(has(saw("the model gateway", w.model, modelKey), modelKey), "the gateway's key reached the gateway")
	if w.repository != nil {
		a.hold(has(saw("the host of the repository", w.repository, operatorGit), operatorGit), "the token of the repository reached its host")
	}
	switch visible, found := a.watch.sawServer(); {
	case visible:
		a.hold(found, "variables given to lap serve are found in its own environment")
	default:
		a.report.Skipped = append(a.report.Skipped, "processes of this machine: this system does not show them in "+procDir)
	}
}
