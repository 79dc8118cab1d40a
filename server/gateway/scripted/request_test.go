package scripted_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestMessages(t *testing.T) {
	url := serve(t, "")
	const asked = `{"role":"user","content":[{"type":"text","text":"<system-reminder>a</system-reminder>"},{"type":"text","text":"RUN: ls"}]},{"role":"system","content":"b"},`
	const called = `{"role":"assistant","content":[{"type":"thinking","thinking":"c","signature":"d"},{"type":"tool_use","id":"toolu_1","name":"bash","input":{}}]},`
	tests := []struct{ name, messages, want string }{
		{"text", `{"role":"user","content":"hi"}`, "hi"},
		{"image", `{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},{"type":"text","text":"see"}]}`, "see\n[1 image]"},
		{"result", asked + called + `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"one"}]}`, "$ ls\none"},
		{"result in blocks", asked + called + `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"one"},{"type":"image","source":{}},{"type":"text","text":"two"}]}]}`, "$ ls\none\ntwo"},
		{"failed result", asked + called + `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","is_error":true,"content":"no"}]}`, "$ ls\nno"},
		{"result without content", asked + called + `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1"}]}`, "$ ls\n(no output)"},
		{"note beside a result", asked + called + `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"one"},{"type":"text","text":" <system-reminder>RUN: pwd</system-reminder>\n"}]}`, "$ ls\none"},
		{"note after a result", asked + called + `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"one"}]},{"role":"user","content":"<system-reminder>x</system-reminder>"}`, "$ ls\none"},
		{"user beside a result", asked + called + `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"one"},{"type":"text","text":"stop"}]}`, "stop"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, body := post(t, url+messagesPath, `{"model":"scripted/echo","system":[{"type":"text","text":"e"}],"messages":[`+tt.messages+`],"tools":[{"name":"bash"}]}`)
			if got := saidIn(t, body); got != tt.want {
				t.Errorf("answer = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestResponses(t *testing.T) {
	url := serve(t, "")
	const asked = `{"type":"message","role":"developer","content":[{"type":"input_text","text":"a"}]},{"role":"user","content":[{"type":"input_text","text":"RUN: ls"}]},` +
		`{"type":"reasoning","summary":[]},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"b"}]},`
	const function = `{"type":"function_call","call_id":"call_1","name":"shell","arguments":"{}"},{"type":"function_call_output","call_id":"call_1","output":`
	tests := []struct{ name, input, want string }{
		{"text", `"hi"`, "hi"},
		{"image", `[{"role":"user","content":[{"type":"input_text","text":"see"},{"type":"input_image","image_url":"data:"}]}]`, "see\n[1 image]"},
		{"note", `[{"role":"user","content":"hi"},{"role":"user","content":"<environment_context>x</environment_context>"}]`, "hi"},
		{"call", `[{"role":"user","content":"RUN: ls"}]`, `shell{"command":["bash","-lc","ls"]}`},
		{"result", `[` + asked + function + `"one"}]`, "$ ls\none"},
		{"result in parts", `[` + asked + function + `[{"type":"input_text","text":"one"},{"type":"input_image","image_url":"data:"}]}]`, "$ ls\none"},
		{"custom tool", `[` + asked + `{"type":"custom_tool_call","call_id":"c","name":"x","input":"y"},{"type":"custom_tool_call_output","call_id":"c","output":"one"}]`, "$ ls\none"},
		{"local shell", `[` + asked + `{"type":"local_shell_call","id":"c","action":{}},{"type":"local_shell_call_output","id":"c","output":"one"}]`, "$ ls\none"},
		{"unknown items", `[{"type":"web_search_call","output":{}},{"type":"compaction"},{"type":"additional_tools"},{"role":"user","content":"hi"}]`, "hi"},
		{"tools among the items", `[{"type":"additional_tools","tools":[{"type":"namespace","name":"n","tools":[{"type":"function","name":"bash"}]}]},{"role":"user","content":"RUN: ls"}]`, `bash{"command":"ls"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, body := post(t, url+responsesPath, `{"model":"scripted/echo","store":false,"instructions":"c","input":`+tt.input+`,"tools":[{"type":"custom","name":"apply_patch"},{"type":"function","name":"shell"}]}`)
			if got := saidIn(t, body); got != tt.want {
				t.Errorf("answer = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCounts(t *testing.T) {
	url := serve(t, script(t, "s", "turns: [{text: a}]"))
	tests := []struct {
		path, body, want string
		status           int
	}{
		{"/v1/messages/count_tokens", `{"model":"scripted/s","system":"1234","messages":[{"role":"user","content":"hi"}]}`, `{"input_tokens":10}`, 200},
		{"/v1/responses/input_tokens", `{"model":"scripted/echo","input":"123456"}`, `{"object":"response.input_tokens","input_tokens":2}`, 200},
		{"/v1/messages/count_tokens", `{"model":"scripted/nope","messages":[{"role":"user","content":"hi"}]}`, `"not_found_error"`, 404},
	}
	for _, tt := range tests {
		if res, body := post(t, url+tt.path, tt.body); res.StatusCode != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s = %d %s, want %d %s", tt.path, tt.body, res.StatusCode, body, tt.status, tt.want)
		}
	}
}

func TestMalformedRequests(t *testing.T) {
	url := serve(t, "")
	tests := []struct{ name, body, want string }{
		{"no messages", `{"model":"scripted/echo"}`, "messages: not an array"},
		{"messages null", `{"model":"scripted/echo","messages":null}`, "messages: not an array"},
		{"messages empty", `{"model":"scripted/echo","messages":[]}`, "messages: at least one is needed"},
		{"too many messages", `{"model":"scripted/echo","messages":[{}` + strings.Repeat(",{}", 10_000) + `]}`, "messages: more than 10000"},
		{"a long number", `{"model":"scripted/echo","messages":[` + strings.Repeat("1", 5000) + `]}`, "no chat completion request: messages:"},
		{"messages no array", `{"model":"scripted/echo","messages":"hi"}`, "no chat completion request: messages:"},
		{"content a number", `{"model":"scripted/echo","messages":[{"role":"user","content":5}]}`, "content is neither a string nor an array of parts"},
		{"stream no bool", `{"model":"scripted/echo","stream":"yes"}`, "no chat completion request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := ask(t, url, tt.body)
			if res.StatusCode != http.StatusBadRequest || !strings.Contains(body, tt.want) || len(body) > 600 {
				t.Errorf("answer = %d %s, want 400 and %q", res.StatusCode, body, tt.want)
			}
		})
	}
}

func TestMalformedRequestsOfOtherWires(t *testing.T) {
	url := serve(t, "")
	tests := []struct{ name, path, rest, want string }{
		{"no messages", messagesPath, `"max_tokens":1`, "no messages request: messages: not an array"},
		{"messages empty", messagesPath, `"messages":[]`, "messages: at least one is needed"},
		{"too many results", messagesPath, `"messages":[{"role":"user","content":[{}` + strings.Repeat(`,{"type":"tool_result"}`, 10_001) + `]}]`, "more than 10000"},
		{"too many calls", messagesPath, `"messages":[{"role":"assistant","content":[{}` + strings.Repeat(`,{"type":"tool_use"}`, 10_001) + `]}]`, "more than 10000 tool calls"},
		{"result a number", messagesPath, `"messages":[{"role":"user","content":[{"type":"tool_result","content":5}]}]`, "tool_result: content is neither"},
		{"no input", responsesPath, `"stream":true`, "no responses request: input: not an array"},
		{"input empty", responsesPath, `"input":[]`, "input: at least one is needed"},
		{"output a number", responsesPath, `"input":[{"type":"function_call_output","output":5}]`, "input: content is neither"},
		{"earlier response", responsesPath, `"input":"hi","previous_response_id":"resp_1"`, `"code":"previous_response_not_found"`},
		{"conversation", responsesPath, `"input":"hi","conversation":{"id":"conv_1"}`, "send the whole of it as input"},
		{"background", responsesPath, `"input":"hi","background":true`, "scripted models answer at once"},
		{"reference", responsesPath, `"input":[{"type":"item_reference","id":"msg_1"}]`, "scripted models keep no items: send \\\"msg_1\\\" itself"},
		{"too many tools", responsesPath, `"input":"hi","tools":[{"type":"namespace","tools":[{}` + strings.Repeat(",{}", 10_000) + `]}]`, "more than 10000 tools"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := post(t, url+tt.path, `{"model":"scripted/echo",`+tt.rest+`}`)
			if res.StatusCode != http.StatusBadRequest || !strings.Contains(body, tt.want) || len(body) > 600 {
				t.Errorf("answer = %d %s, want 400 and %q", res.StatusCode, body, tt.want)
			}
		})
	}
}
