package prompt

import (
	"strings"

	"lap/db"
)

// Compose is the prompt of an agent: its memories, then its own prompt with its skill
// blocks.
func Compose(memories db.Preload, agentPrompt *string) string {
	pieces := []string{MemoryBlock(memories)}
	if agentPrompt != nil {
		pieces = append(pieces, *agentPrompt)
	}
	return join(pieces)
}

// Session is the prompt of one session: the agent's, how to improve the skills that
// are the session's own, and who the agent is.
func Session(agentPrompt, agentID, sessionID string, skillIDs []string) string {
	return join([]string{agentPrompt, improveSkills(sessionID, skillIDs), identity(agentID, sessionID)})
}

func improveSkills(sessionID string, skillIDs []string) string {
	if len(skillIDs) == 0 {
		return ""
	}
	return `=== IMPROVING SKILLS ===
These skills were given to this session: ` + strings.Join(skillIDs, ", ") + `
When you find that one of them is wrong or lacks something, tell the user what you would change. Only after the user has agreed, store the new text of the skill:
  curl -X PATCH "$LAP_BASE_URL/api/v1/skills/<skill_id>" \
    -H "x-session-id: ` + sessionID + `" -H "Content-Type: application/json" \
    -d '{"content": "<the whole new text>"}'
No token is needed: the platform knows this sandbox.
=== END IMPROVING SKILLS ===`
}

func identity(agentID, sessionID string) string {
	return "=== IDENTITY ===\nagent_id: " + agentID + "\nsession_id: " + sessionID + "\n=== END IDENTITY ==="
}

// Preamble is the text in front of the first turn of a session whose harness got its
// prompt when it was started. baseURL is lap's public URL, or empty.
func Preamble(sessionID, baseURL string) string {
	lines := []string{
		"This conversation is session " + sessionID + " of the LiteLLM Agent Platform.",
		"<lap_session_id>" + sessionID + "</lap_session_id>",
	}
	if baseURL != "" {
		lines = append(lines, "<lap_session_url>"+strings.TrimRight(baseURL, "/")+"/sessions/"+sessionID+"</lap_session_url>")
	}
	return strings.Join(append(lines, "Answer the request below."), "\n")
}

// join joins the pieces that are not empty with one blank line between them.
func join(pieces []string) string {
	var kept []string
	for _, p := range pieces {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "\n\n")
}
