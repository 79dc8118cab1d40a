package session

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"lap/sandbox"
)

// maxReply bounds what is read of one answer of a sandbox, which may be anything.
const maxReply = 64 << 20

// A statusError is a harness's answer with a status of 400 or more.
type statusError struct {
	status int
	body   string // cut
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the harness answered %d: %s", e.status, e.body)
}

// call sends body as JSON to a path of the guest and returns the answer's body.
func call(ctx context.Context, client *http.Client, method, path string, body any) ([]byte, error) {
	res, err := send(ctx, client, method, path, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	if err != nil {
		return nil, err
	}
	if len(answer) > maxReply {
		return nil, fmt.Errorf("the sandbox answered with more than %d MiB", maxReply>>20)
	}
	return answer, nil
}

func send(ctx context.Context, client *http.Client, method, path string, body any) (*http.Response, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://sandbox"+path, in)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return sendRequest(client, req)
}

// sendRequest returns the answer to a request, whose body the caller closes. A status of
// 400 or more is an error, a statusError.
func sendRequest(client *http.Client, req *http.Request) (*http.Response, error) {
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= http.StatusBadRequest {
		defer res.Body.Close()
		return nil, refusalOf(res)
	}
	return res, nil
}

// refusalOf is the statusError that an answer stands for.
func refusalOf(res *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(res.Body, 2<<10))
	return errors.Join(&statusError{status: res.StatusCode, body: string(text)}, err)
}

// guestPhases are the phases that a guest may report, in the order in which they come.
var guestPhases = []string{"injecting_files", "cloning_repo", "installing_deps", "harness_listening"}

// bootGuest tells a fresh guest whose session it runs, passing its phases on, and returns
// the id of the guest process. What answers may be anything: phases only go forward, and
// one is passed on again only with another detail, which is one line.
func bootGuest(ctx context.Context, client *http.Client, b sandbox.Boot, phase func(name, detail string)) (guest string, err error) {
	res, err := send(ctx, client, http.MethodPost, "/boot", b)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	reached, shown := -1, ""
	lines := bufio.NewScanner(res.Body) // a line is at most 64 KiB
	for lines.Scan() {
		var ev sandbox.BootEvent
		if err := json.Unmarshal(lines.Bytes(), &ev); err != nil {
			return "", fmt.Errorf("boot: %w", err)
		}
		switch {
		case ev.Error != "":
			return "", errors.New("boot: " + ev.Error)
		case ev.Done:
			return ev.Guest, nil
		}
		at, detail := slices.Index(guestPhases, ev.Phase), cutLine(ev.Detail, maxDetail)
		if at > reached || at == reached && at >= 0 && detail != "" && detail != shown {
			reached, shown = at, detail
			phase(ev.Phase, detail)
		}
	}
	return "", fmt.Errorf("boot: the sandbox ended: %w", errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

// createSession makes the harness's own session and returns its id.
func createSession(ctx context.Context, client *http.Client, title, prompt string, boot sandbox.Boot) (string, error) {
	answer, err := call(ctx, client, http.MethodPost, "/harness/session", struct {
		Title    string   `json:"title"`
		Prompt   string   `json:"prompt"`
		Files    []string `json:"files"`
		Agent    string   `json:"agent_id"`
		Platform string   `json:"platform_session_id"`
	}{title, prompt, []string{}, boot.Agent, boot.Session})
	if err != nil {
		return "", fmt.Errorf("create the harness session: %w", err)
	}
	var session struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer, &session); err != nil || session.ID == "" {
		return "", fmt.Errorf("create the harness session: unexpected answer %.200q", answer)
	}
	return session.ID, nil
}

// A model names a model to the harness. The provider is always the gateway, and the
// whole model string is its model id: gateways route by the whole string.
type model struct {
	ProviderID string `json:"providerID"`
	ModelID    string `json:"modelID"`
}

func gatewayModel(name string) model { return model{ProviderID: "litellm", ModelID: name} }

// parseReply checks a harness's answer to a turn and returns it with a parts array.
func parseReply(answer []byte) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(answer, &members); err != nil || members == nil {
		return nil, fmt.Errorf("the harness's reply is no JSON object: %.200q", answer)
	}
	if list := members["parts"]; len(list) > 0 && list[0] == '[' {
		return answer, nil
	}
	members["parts"] = json.RawMessage(`[]`)
	return encode(members)
}

// clipBytes is the beginning of some text.
func clipBytes(b []byte, n int) string { return strings.ToValidUTF8(string(b[:min(len(b), n)]), "") }
