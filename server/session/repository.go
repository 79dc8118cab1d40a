package session

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"lap/db"
	"lap/sandbox"
	"lap/server/mirror"
)

// ProjectsDir is where the repositories of an agent's projects are, each in a folder
// named after the project's id.
const ProjectsDir = "/work/projects"

// A tree is a working tree that a sandbox begins with.
type tree struct {
	path, url, branch string
}

// trees lists the working trees of an agent's sandboxes.
func (e *Engine) trees(agent db.Agent) ([]tree, error) {
	var list []tree
	repo := e.cfg.Repo
	if agent.RepoURL != nil {
		repo = *agent.RepoURL
	}
	if repo != "" {
		list = append(list, tree{sandbox.WorkDir, repo, agent.Branch})
	}
	projects, err := projectsOf(agent)
	for _, p := range projects {
		if p.RepoURL != "" {
			list = append(list, tree{p.dir(), p.RepoURL, cmp.Or(p.Branch, "main")})
		}
	}
	return list, err
}

// A project is an entry of an agent's projects.
type project struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	RepoURL  string `json:"repo_url"`
	Branch   string `json:"branch"`
	SetupCmd string `json:"setup_cmd"`
}

func (p project) dir() string { return ProjectsDir + "/" + folder(p.ID) }

func projectsOf(agent db.Agent) (list []project, err error) {
	if err := json.Unmarshal(agent.Projects, &list); err != nil {
		return nil, fmt.Errorf("projects: %w", err)
	}
	return list, nil
}

// setups are the commands that prepare an agent's projects.
func (e *Engine) setups(agent db.Agent) ([]sandbox.Setup, error) {
	projects, err := projectsOf(agent)
	if err != nil {
		return nil, err
	}
	var list []sandbox.Setup
	for _, p := range projects {
		if strings.TrimSpace(p.SetupCmd) != "" {
			list = append(list, sandbox.Setup{Name: p.Name, Dir: p.dir(), Command: p.SetupCmd})
		}
	}
	return list, nil
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// folder is the name of a folder for a project.
func folder(id string) string { return unfit.ReplaceAllString(id, "-") }

// repositories puts the working trees into the sandbox. Their hosts are asked by lap, so
// that no credential for them is needed inside. env are the session's own variables.
func (b *bringUp) repositories(ctx context.Context, env map[string]string) error {
	list, err := b.engine.trees(b.agent)
	if err != nil {
		return err
	}
	for _, t := range list {
		b.progress.set("cloning_repo", t.url)
		if err := b.clone(ctx, t, env); err != nil {
			return err
		}
	}
	return nil
}

func (b *bringUp) clone(ctx context.Context, t tree, env map[string]string) error {
	repo := mirror.Repo{URL: t.url, Branch: t.branch}
	repo.Token, repo.TokenName = b.engine.gitToken(b.agent, env)
	checkout, err := b.engine.cfg.Mirrors.Prepare(ctx, repo, func(detail string) { b.progress.set("cloning_repo", detail) })
	if err != nil {
		return err
	}
	defer checkout.Close()
	path := "http://sandbox/files?path=" + url.QueryEscape(t.path)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, path, checkout)
	if err != nil {
		return err
	}
	req.ContentLength = checkout.Size
	req.Header.Set("Content-Type", "application/x-tar")
	res, err := sendRequest(b.client, req)
	if err != nil {
		return fmt.Errorf("put %s into the sandbox: %w", t.url, err)
	}
	return res.Body.Close()
}

// gitTokens are variables that hold a credential for repositories, the preferred first.
var gitTokens = []string{"GITHUB_TOKEN", "GH_TOKEN"}

// gitToken is the credential for an agent's repositories, and its name: GIT_TOKEN, which
// only the operator can set and no sandbox sees, else GITHUB_TOKEN, else GH_TOKEN.
func (e *Engine) gitToken(agent db.Agent, env map[string]string) (token, name string) {
	if token := e.cfg.Env["GIT_TOKEN"]; token != "" {
		return token, "CONTAINER_ENV_GIT_TOKEN"
	}
	for _, name := range gitTokens {
		for _, vars := range []map[string]string{env, agent.Env, e.cfg.Env} {
			if token := vars[name]; token != "" {
				return token, name
			}
		}
	}
	return "", ""
}
