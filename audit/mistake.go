package audit

import (
	"context"
	"encoding/json"
	"net/http"
)

// mistakes sends secrets where they do not belong.
func (a *audit) mistakes(ctx context.Context) error {
	secret := a.world.canaries.text[mistaken]
	c := a.api.as(errorAnswers)
	quoted, err := json.Marshal(secret)
	if err != nil {
		return err
	}
	stranger := c
	stranger.key = secret
	for _, try := range []struct {
		caller
		method, path, body string
	}{
		{stranger, http.MethodGet, managed + "/agents", ""},
		{c, http.MethodGet, "/nowhere?token=" + secret, ""},
		{c, http.MethodPost, managed + "/agents", `{"model":"m","env_vars":{"A TOKEN":` + string(quoted) + `}}`},
		{c, http.MethodPost, managed + "/agents", `{"model":"m","env_vars":{"A_TOKEN":[` + string(quoted) + `]}}`},
		{c, http.MethodPost, managed + "/agents", `{"model":"m","env_vars":{"GIT_TOKEN":` + string(quoted) + `}}`},
		{c, http.MethodPost, managed + "/agents", `{"model":"m","env_vars":{"A_TOKEN":` + string(quoted) + `}`},
		{c, http.MethodPost, managed + "/agents", `{"model":"m","env_vars":` + string(quoted) + `}`},
		{c, http.MethodPost, managed + "/agents", `{"model":"m","repo_url":"https://me:` + secret + `@git.lapaudit.test/r.git"}`},
	} {
		if _, err := try.do(ctx, try.method, try.path, []byte(try.body)); err != nil {
			return err
		}
	}
	return a.failures(ctx, c, secret)
}

// failures makes sessions that fail for a secret that is of no use.
func (a *audit) failures(ctx context.Context, c caller, secret string) error {
	failing := map[string]any{"name": "failing", "model": "scripted/echo", "harness_id": "lap"}
	if a.world.repository != nil {
		failing["repo_url"] = "http://" + a.world.repository.addr + refusePath
	}
	var made agent
	if err := a.agent(ctx, failing, &made); err != nil {
		return err
	}
	var s session
	err := c.made(ctx, http.MethodPost, managed+"/agents/"+made.ID+"/session", map[string]any{
		"env_vars": map[string]string{"LAP_FILE_0_DEST": "~/x", "LAP_FILE_0_CONTENT": secret, "A_TOKEN": secret},
	}, &s)
	if err != nil {
		return err
	}
	if _, err := c.settled(ctx, s.ID); err != nil {
		return err
	}
	return a.askSession(ctx, s)
}
