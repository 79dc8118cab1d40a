package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lap/db"
	"lap/sandbox"
	"lap/server/prompt"
)

// A composition is all that makes a sandbox one session's own.
type composition struct {
	sandbox.Boot
	prompt string // of the harness session
}

// pinnedLimit is how many pinned memories a prompt holds at most.
const pinnedLimit = 20

// compose gathers what the session's agent is told and given. env are the session's own
// variables. token is the progress token that the sandbox gets.
func (e *Engine) compose(ctx context.Context, agent db.Agent, s db.Session, env map[string]string) (_ composition, token string, err error) {
	if len(agent.EnvBroken) > 0 {
		return composition{}, "", fmt.Errorf("env_vars %s cannot be decrypted: start lap with the ENCRYPTION_KEY they were stored under, or set them again",
			strings.Join(agent.EnvBroken, ", "))
	}
	skills, err := e.skills(ctx, agent, s)
	if err != nil {
		return composition{}, "", err
	}
	memories, err := e.cfg.Store.PreloadMemories(ctx, agent.ID, pinnedLimit, agent.PreloadMemoryLimit)
	if err != nil {
		return composition{}, "", err
	}
	setups, err := e.setups(agent)
	if err != nil {
		return composition{}, "", err
	}
	agentPrompt := prompt.Compose(memories, agent.Prompt)
	boot := sandbox.Boot{Session: s.ID, Agent: agent.ID, Harness: agent.HarnessID, CA: e.cfg.Trust, Setup: setups}
	boot.Requirements, _ = e.requirements(agent, s.ID)
	if boot.Sealed, err = e.seal(s.ID, env); err != nil {
		return composition{}, "", err
	}
	token = newToken()
	boot.Env = e.environment(agent, s, env, agentPrompt)
	boot.Env["HARNESS_PROGRESS_TOKEN"] = token
	if boot.Files, err = droppedFiles(boot.Env); err != nil {
		return composition{}, "", err
	}
	for _, f := range skills {
		boot.Files = append(boot.Files, sandbox.File{Path: f.Path, Content: []byte(f.Content)})
	}
	skillsJSON, err := json.Marshal(skills)
	if err != nil {
		return composition{}, "", err
	}
	boot.Env["SKILLS_JSON"] = string(skillsJSON)
	return composition{Boot: boot, prompt: prompt.Session(agentPrompt, agent.ID, s.ID, s.SkillIDs)}, token, nil
}

// never lists what is removed from a sandbox's environment whoever set it: lap's own
// secrets, and names whose real values only lap may know.
var never = []string{
	"MASTER_KEY", "GIT_TOKEN", "ENCRYPTION_KEY", "HARNESS_TOKEN_SIGNING_KEY",
	"LAP_ACCESS_TOKEN", "LAP_REFRESH_TOKEN", "LAP_AUTH_TOKEN", "HARNESS_AUTH_TOKEN", "HARNESS_PROGRESS_TOKEN",
}

// environment is what the harness and its tools see, later entries winning: the
// operator's, the agent's, the session's, lap's own. Credentials are stubs.
func (e *Engine) environment(agent db.Agent, s db.Session, own map[string]string, agentPrompt string) map[string]string {
	env := maps.Clone(e.cfg.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, agent.Env)
	maps.Copy(env, own)
	for _, name := range never {
		delete(env, name)
	}
	credentials := e.variables(agent, s, own)
	for _, c := range credentials {
		env[c.Name] = c.Stub
	}
	useWithGit(env, credentials)
	base := map[string]string{
		"AGENT_ID": agent.ID, "SESSION_ID": s.ID, "AGENT_PROMPT": agentPrompt,
		"REPO_DIR": sandbox.WorkDir, "BRANCH": agent.Branch, "PORT": "4096",
		"LITELLM_API_BASE": "http://" + sandbox.GatewayAddr, gatewayKey: e.stub(s.ID, gatewayKey),
		"LITELLM_DEFAULT_MODEL": agent.Model,
		"LAP_BASE_URL":          "http://" + sandbox.PlatformAddr, "PLATFORM_URL": "http://" + sandbox.PlatformAddr,
	}
	if base["REPO_URL"] = e.cfg.Repo; agent.RepoURL != nil {
		base["REPO_URL"] = *agent.RepoURL
	}
	if agent.Requirements != nil {
		base["AGENT_REQUIREMENTS"], _ = e.requirements(agent, s.ID)
	}
	maps.Copy(env, base)
	return env
}

// droppedFiles takes the files that come as LAP_FILE_<n>_DEST and LAP_FILE_<n>_CONTENT
// (base64), n from 0 without gaps. "~" is the home directory.
func droppedFiles(env map[string]string) ([]sandbox.File, error) {
	var files []sandbox.File
	for n := 0; ; n++ {
		prefix := "LAP_FILE_" + strconv.Itoa(n)
		dest, ok := env[prefix+"_DEST"]
		if !ok {
			return files, nil
		}
		content, err := base64.StdEncoding.DecodeString(env[prefix+"_CONTENT"])
		if err != nil {
			return nil, fmt.Errorf("env_vars.%s_CONTENT is not base64: %w", prefix, err)
		}
		files = append(files, sandbox.File{Path: strings.TrimPrefix(dest, "~/"), Content: content})
	}
}

// skills returns the files of the agent's attached skills, then of the session's own.
// Blocks without a library row have no file.
func (e *Engine) skills(ctx context.Context, agent db.Agent, s db.Session) ([]prompt.File, error) {
	var text string
	if agent.Prompt != nil {
		text = *agent.Prompt
	}
	ids := prompt.SkillIDs(text)
	for _, id := range s.SkillIDs {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	rows, err := e.cfg.Store.SkillsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	return prompt.SkillFiles(rows), nil
}
