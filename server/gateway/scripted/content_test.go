package scripted_test

import (
	"net/http"
	"strings"
	"testing"
)

// What surrounds an image, and what is in it, leaves the texts beside it alone.
func TestTextsAreFoundAmongImages(t *testing.T) {
	url := serve(t, "")
	tests := []struct{ name, content, want string }{
		{"quotes and brackets", `[ {"image_url":{"url":"a\\\"],[{\\\\"},"type":"image_url"} , {"type":"text","text":"\"]},{[\\"} ]`, "\"]},{[\\\n[1 image]"},
		{"nested arrays", `[{"type":"x","more":[[1,2],{"a":[3]}]},{"type":"text","text":"a,b"}]`, "a,b"},
		{"no parts", `[ ]`, "(an empty message)"},
		{"image as text", `[{"type":"text","text":"t","image_url":{"url":"data:"}}]`, "t"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rest := `"messages" : [ {"role":"assistant"} , {"role":"user","content":` + tt.content + `} ]`
			if got := saidTo(t, url, "scripted/echo", rest); got != tt.want {
				t.Errorf("answer = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTooManyTools(t *testing.T) {
	url := serve(t, "")
	many := `[{}` + strings.Repeat(",{}", 10_000) + `]`
	for name, rest := range map[string]string{
		"more than 10000 tools":      `"messages":[{}],"tools":` + many,
		"more than 10000 tool calls": `"messages":[{"role":"assistant","tool_calls":` + many + `}]`,
	} {
		res, body := ask(t, url, `{"model":"scripted/echo",`+rest+`}`)
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(body, name) {
			t.Errorf("answer = %d %s, want 400 and %q", res.StatusCode, body, name)
		}
	}
}

func TestImagesAreNoText(t *testing.T) {
	url := serve(t, "")
	res, body := ask(t, url, `{"model":"scripted/echo","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"`+
		strings.Repeat("A", 17<<20)+`"}},{"type":"text","text":"`+strings.Repeat("b", 17<<20)+`"}]}]}`)
	if res.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(body, "beside its images") {
		t.Errorf("answer = %d %.300s", res.StatusCode, body)
	}
}
