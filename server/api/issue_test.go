package api_test

import (
	"strings"
	"testing"
)

func TestOneBadValueGivesOneComplaint(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	message := sessions + "/" + w.newSession(t, agent) + "/message"
	tests := []struct{ name, path, body, want string }{
		{"text is a number", message, `{"text": 1}`, "text: must be a string"},
		{"text is null", message, `{"text": null}`, "text: must be a string"},
		{"text is empty", message, `{"text": ""}`, "text: must not be empty without attachments"},
		{"parts is a number", message, `{"parts": 1}`, "parts: must be an array"},
		{"attachments is a number", message, `{"attachments": 1}`, "attachments: must be an array"},
		{"an attachment is a number", message, `{"attachments": [1]}`, "attachments.0: must be an object"},
		{"attachments is empty", message, `{"attachments": []}`, "text, attachments or parts: is required"},
		{"media type is null", message, `{"attachments": [{"mime_type": null, "base64": "aGk="}]}`, "attachments.0.mime_type: must be a string"},
		{"both are bad", message, `{"text": 1, "attachments": 1}`, "text: must be a string; attachments: must be an array"},
		{"template_id is null", agents, `{"model": "m", "template_id": null}`, "template_id: must be a string"},
		{"projects is null", agents, `{"model": "m", "harness_id": "claude-code-brain-inline", "projects": null}`, "projects: must be an array"},
		{"memory text is null", agents + "/" + agent + "/memory", `{"text": null}`, "text: must be a string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := w.do(t, "POST", tt.path, tt.body).want(t, 400).get("error").String(); got != tt.want {
				t.Errorf("error = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestManyComplaints(t *testing.T) {
	w := newWorld(t)
	body := `{"model": "m", "mcp_servers": [` + strings.Repeat("1,", 100_000) + `1], "name": 1}`
	r := w.do(t, "POST", agents, body).want(t, 400).get("error").String()
	if !strings.HasPrefix(r, "mcp_servers.0: must be a string; mcp_servers.1: must be a string; ") ||
		!strings.HasSuffix(r, "mcp_servers.19: must be a string; and 99982 more") {
		t.Errorf("error = %q", r)
	}
}
