package api_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"lap/server/api"
)

// coreRoutes are all routes but those with a credential of their own or none, with an id
// that does not exist.
func coreRoutes() [][2]string {
	return [][2]string{
		{"GET", agents},
		{"POST", agents},
		{"GET", agents + "/" + noID},
		{"PATCH", agents + "/" + noID},
		{"DELETE", agents + "/" + noID},
		{"POST", agents + "/" + noID + "/session"},
		{"GET", sessions},
		{"GET", sessions + "/" + noID},
		{"DELETE", sessions + "/" + noID},
		{"POST", sessions + "/" + noID + "/stop"},
		{"POST", sessions + "/" + noID + "/message"},
		{"GET", sessions + "/" + noID + "/messages"},
		{"POST", sessions + "/" + noID + "/message_stream"},
		{"GET", sessions + "/" + noID + "/events"},
		{"GET", sessions + "/" + noID + "/stream"},
		{"GET", sessions + "/" + noID + "/log"},
		{"POST", sessions + "/" + noID + "/abort"},
		{"POST", sessions + "/" + noID + "/restart"},
		{"GET", sessions + "/" + noID + "/sandbox_logs"},
		{"GET", sessions + "/" + noID + "/diagnose"},
		{"GET", sessions + "/" + noID + "/egress"},
		{"GET", sessions + "/" + noID + "/interceptions"},
		{"GET", sessions + "/" + noID + "/vault-keys"},
		{"GET", sessions + "/" + noID + "/files"},
		{"PUT", sessions + "/" + noID + "/files"},
		{"GET", sessions + "/" + noID + "/diff"},
		{"GET", sessions + "/" + noID + "/memory"},
		{"POST", sessions + "/" + noID + "/memory"},
		{"GET", sessions + "/" + noID + "/opencode/session"},
		{"POST", sessions + "/" + noID + "/opencode/session"},
		{"PUT", sessions + "/" + noID + "/opencode/session"},
		{"PATCH", sessions + "/" + noID + "/opencode/session"},
		{"DELETE", sessions + "/" + noID + "/opencode/session"},
		{"POST", skills},
		{"GET", skills},
		{"GET", skills + "/" + noID},
		{"PATCH", skills + "/" + noID},
		{"DELETE", skills + "/" + noID},
		{"POST", agents + "/" + noID + "/skill"},
		{"DELETE", agents + "/" + noID + "/skill"},
		{"GET", agents + "/" + noID + "/memory"},
		{"POST", agents + "/" + noID + "/memory"},
		{"PATCH", agents + "/" + noID + "/memory/" + noID},
		{"DELETE", agents + "/" + noID + "/memory/" + noID},
		{"GET", "/api/v1/health/sandbox"},
		{"GET", "/api/v1/health/docker"},
		{"GET", "/api/v1/health/k8s"},
		{"GET", fixtures + "/clock"},
		{"POST", fixtures + "/clock"},
		{"GET", fixtures + "/faults"},
		{"POST", fixtures + "/faults"},
		{"DELETE", fixtures + "/faults"},
		{"POST", fixtures + "/reset"},
		{"GET", fixtures + "/requests"},
	}
}

// TestEveryRouteIsTried makes sure that no route is left out of the tests here.
func TestEveryRouteIsTried(t *testing.T) {
	tried := map[string]bool{}
	for _, route := range coreRoutes() {
		tried[route[0]+" "+route[1]] = true
	}
	parameter := regexp.MustCompile(":[a-z_]+")
	for _, route := range newWorld(t).api.Routes() {
		path := strings.Replace(parameter.ReplaceAllString(route, noID), "*path", "session", 1)
		if !tried[path] {
			t.Errorf("%s is not tried", route)
		}
	}
}

func TestStrangersLearnNothing(t *testing.T) {
	w := newWorld(t)
	routes := append(coreRoutes(), [2]string{"GET", "/nowhere"}, [2]string{"PUT", agents}, [2]string{"OPTIONS", agents}, [2]string{"GET", "/"}, [2]string{"GET", "/api/v1/metrics"})
	for _, credential := range []string{
		"", "Bearer", "Bearer ", "Bearer wrong", "bearer " + masterKey, "Bearer  " + masterKey, "Basic " + masterKey, masterKey,
		"Bearer " + masterKey + "x", "Bearer " + masterKey[1:], "Bearer a.b",
	} {
		header := map[string]string{}
		if credential != "" {
			header["Authorization"] = credential
		}
		for _, route := range routes {
			r := w.send(t, route[0], route[1], nil, header)
			if r.status != http.StatusUnauthorized || r.body != `{"error":"unauthorized"}` {
				t.Errorf("%s %s with %q: %d %s", route[0], route[1], credential, r.status, r.body)
			}
		}
	}
}

func TestUnknownIDs(t *testing.T) {
	w := newWorld(t)
	for _, route := range coreRoutes() {
		if !strings.Contains(route[1], noID) {
			continue
		}
		// What does not exist is said before anything about the body.
		w.do(t, route[0], route[1], "no JSON").wantError(t, http.StatusNotFound, noID, "not found")
	}
	w.do(t, "GET", agents+"/"+noID, nil).wantError(t, http.StatusNotFound, "agent '"+noID+"' not found")
	w.do(t, "GET", skills+"/"+noID, nil).wantError(t, http.StatusNotFound, "skill '"+noID+"' not found")
	w.do(t, "GET", sessions+"/"+noID, nil).wantError(t, http.StatusNotFound, "session "+noID+" not found")
	w.do(t, "POST", sessions+"/"+noID+"/message", nil).wantError(t, http.StatusNotFound, "session "+noID+" not found or not ready")
	w.do(t, "GET", agents+"/not-a-uuid", nil).wantError(t, http.StatusNotFound, "agent 'not-a-uuid' not found")
}

func TestHealthNeedsNoCredential(t *testing.T) {
	w := newWorld(t)
	r := w.send(t, "GET", "/healthz", nil, nil).want(t, http.StatusOK)
	if strings.TrimSpace(r.body) != `{"ok":true}` {
		t.Errorf("body = %s", r.body)
	}
	w.send(t, "POST", "/healthz", nil, nil).wantError(t, http.StatusMethodNotAllowed, "method not allowed")
}

func TestHealthOfAClosedDatabase(t *testing.T) {
	w := newWorld(t, func(cfg *api.Config) { cfg.Store = closedStore(t) })
	w.send(t, "GET", "/healthz", nil, nil).wantError(t, http.StatusServiceUnavailable, "database")
	r := w.do(t, "GET", agents, nil)
	r.wantError(t, http.StatusInternalServerError, "internal error")
	if r.get("error").String() != "internal error" {
		t.Errorf("body = %s: it tells what is wrong inside", r.body)
	}
}

// token signs claims as an agent token.
func token(tb testing.TB, key string, claims map[string]any) string {
	tb.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	payload := base64.RawURLEncoding.EncodeToString(text)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(payload))
	return payload + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// claims are those of a good token for an agent, with changes.
func claims(w *world, agentID string, changes map[string]any) map[string]any {
	now := w.clock.Now().Unix()
	c := map[string]any{
		"kind": "access", "agent_id": agentID, "scope": []string{"memory", "skills"}, "iat": now, "exp": now + 900,
	}
	maps.Copy(c, changes)
	for name, v := range c {
		if v == nil {
			delete(c, name)
		}
	}
	return c
}

func bearer(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

func TestAgentToken(t *testing.T) {
	w := newWorld(t)
	agent, other := w.newAgent(t), w.newAgent(t)
	live, ended, foreign := w.newSession(t, agent), w.newSession(t, agent), w.newSession(t, other)
	w.do(t, "DELETE", sessions+"/"+ended, nil).want(t, http.StatusNoContent)
	now := w.clock.Now().Unix()
	tests := []struct {
		name    string
		changes map[string]any
		status  int
	}{
		{"good", nil, 200},
		{"expires in a moment", map[string]any{"exp": float64(now) + 500.5}, 200},
		{"of a live session", map[string]any{"pod": live}, 200},
		{"of an ended session", map[string]any{"pod": ended}, 401},
		{"of another agent's session", map[string]any{"pod": foreign}, 401},
		{"of no session", map[string]any{"pod": noID}, 401},
		{"expired", map[string]any{"exp": now - 1}, 401},
		{"refresh", map[string]any{"kind": "refresh"}, 401},
		{"no kind", map[string]any{"kind": nil}, 401},
		{"other agent", map[string]any{"agent_id": other}, 401},
		{"no agent", map[string]any{"agent_id": ""}, 401},
		{"agent is a number", map[string]any{"agent_id": 1}, 401},
		{"other scope", map[string]any{"scope": []string{"skills"}}, 401},
		{"no scope", map[string]any{"scope": nil}, 401},
		{"scope is text", map[string]any{"scope": "memory"}, 401},
		{"no expiry", map[string]any{"exp": nil}, 401},
		{"expiry is text", map[string]any{"exp": "9999999999"}, 401},
		{"no iat", map[string]any{"iat": nil}, 401},
		{"pod is a number", map[string]any{"pod": 1}, 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := w.send(t, "GET", agents+"/"+agent+"/memory", nil, bearer(token(t, tokenKey, claims(w, agent, tt.changes))))
			r.want(t, tt.status)
		})
	}
}

func TestAgentTokenTampered(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	good := token(t, tokenKey, claims(w, agent, nil))
	payload, signature, _ := strings.Cut(good, ".")
	for name, bad := range map[string]string{
		"other key": token(t, "fedcba9876543210", claims(w, agent, nil)), "master key as key": token(t, masterKey, claims(w, agent, nil)),
		"no signature": payload, "empty signature": payload + ".", "signature alone": "." + signature, "a third segment": good + ".x",
		"padded": good + "=", "other payload": "x" + good, "cut": good[:len(good)-2],
	} {
		t.Run(name, func(t *testing.T) {
			w.send(t, "GET", agents+"/"+agent+"/memory", nil, bearer(bad)).want(t, http.StatusUnauthorized)
		})
	}
}

func TestNoTokenKeyNoTokens(t *testing.T) {
	w := newWorld(t, func(cfg *api.Config) { cfg.TokenKey = nil })
	agent := w.newAgent(t)
	w.send(t, "GET", agents+"/"+agent+"/memory", nil, bearer(token(t, "", claims(w, agent, nil)))).want(t, http.StatusUnauthorized)
}

func TestAgentTokenOpensOnlyItsRoutes(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	header := bearer(token(t, tokenKey, claims(w, agent, nil)))
	open := map[string]bool{
		"GET " + agents + "/" + agent + "/memory": true, "POST " + agents + "/" + agent + "/memory": true,
		"PATCH " + agents + "/" + agent + "/memory/" + noID: true, "DELETE " + agents + "/" + agent + "/memory/" + noID: true,
		"PATCH " + skills + "/" + noID: true,
	}
	for _, route := range append(coreRoutes(), [2]string{"GET", "/nowhere"}, [2]string{"PUT", agents}) {
		path := strings.Replace(route[1], "/agents/"+noID, "/agents/"+agent, 1)
		r := w.send(t, route[0], path, nil, header)
		if (r.status != http.StatusUnauthorized) != open[route[0]+" "+path] {
			t.Errorf("%s %s: %d %s", route[0], path, r.status, r.body)
		}
	}
}

func TestTokenVector(t *testing.T) {
	const text = "eyJraW5kIjoiYWNjZXNzIiwiYWdlbnRfaWQiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEiLCJzY29wZSI6WyJtZW1vcnkiLCJpc3N1ZXMiXSwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjE3MDAwMDA5MDB9.XlUky2rjB7Q86ot6_YrJOO4fKTNw_8u1XADUvnZvjoM"
	for _, tt := range []struct {
		now int64
		ok  bool
	}{{1700000000, true}, {1700000899, true}, {1700000900, false}} {
		agent, kind, ok := api.TokenAgent([]byte("0123456789abcdef"), text, time.Unix(tt.now, 0))
		if ok != tt.ok || ok && (agent != "11111111-1111-4111-8111-111111111111" || kind != "access") {
			t.Errorf("at %d: %s, %s, %t, want %t", tt.now, agent, kind, ok, tt.ok)
		}
	}
}

func TestSandboxSpeaksForItsAgentOnly(t *testing.T) {
	w := newWorld(t)
	agent, other := w.newAgent(t), w.newAgent(t)
	skill, foreign := w.newSkill(t, "mine", "one"), w.newSkill(t, "foreign", "one")
	w.do(t, "POST", agents+"/"+agent+"/skill", map[string]string{"skill_id": skill}).want(t, http.StatusOK)
	session := w.newSession(t, agent)
	inside := w.inside(t, agent, session)

	r := inside("POST", agents+"/"+agent+"/memory", `{"text": "x", "source": "ui", "source_session_id": "forged"}`).want(t, http.StatusCreated)
	if r.get("source").String() != "agent" || r.get("source_session_id").String() != session {
		t.Errorf("memory = %s", r.body)
	}
	inside("GET", agents+"/"+agent+"/memory?q=x", nil).want(t, http.StatusOK)
	inside("GET", agents+"/"+other+"/memory", nil).want(t, http.StatusUnauthorized)
	inside("GET", agents+"/"+agent, nil).want(t, http.StatusUnauthorized)
	inside("GET", sessions, nil).want(t, http.StatusUnauthorized)
	inside("GET", "/nowhere", nil).want(t, http.StatusUnauthorized)
	inside("GET", "/healthz", nil).want(t, http.StatusOK)

	inside("PATCH", skills+"/"+skill, `{"content": "two"}`).want(t, http.StatusOK)
	inside("PATCH", skills+"/"+foreign, `{"content": "two"}`).wantError(t, http.StatusNotFound, "skill '"+foreign+"' not found")
	versions, err := w.store.SkillVersions(t.Context(), skill, 1)
	if err != nil || len(versions) != 1 || versions[0].ChangedBySession == nil || *versions[0].ChangedBySession != session {
		t.Errorf("versions = %+v, %v", versions, err)
	}
}

// inside returns a function that sends requests as a session's sandbox does: without a
// credential, and with one of somebody else.
func (w *world) inside(t *testing.T, agent, session string) func(method, path string, body any) response {
	t.Helper()
	sandbox := w.serve(t, w.api.SandboxHandler(agent, session))
	return func(method, path string, body any) response {
		t.Helper()
		return sandbox.send(t, method, path, body, map[string]string{"Authorization": "Bearer " + masterKey, "Host": "127.0.0.1:4001"})
	}
}
