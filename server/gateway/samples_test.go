package gateway_test

import (
	"strings"

	"lap/server/gateway"
)

const messageStart = "event: message_start\n" +
	`data: {"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","content":[],"model":"claude-x","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":45,"cache_creation_input_tokens":100,"cache_read_input_tokens":2000,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"}}}` + "\n\n"

// samples are answers as they are on the wire, with what they used.
var samples = []struct {
	name, path, request, kind, answer string
	want                              gateway.Usage
}{
	{
		"chat completion", "/v1/chat/completions", ask, "application/json",
		`{
  "id": "chatcmpl-B9MB",
  "object": "chat.completion",
  "created": 1741569952,
  "model": "gpt-x-2026-01-01",
  "choices": [
    {
      "index": 0,
      "message": {"role": "assistant", "content": "The \"usage\": {\"prompt_tokens\": 9} of it", "refusal": null, "annotations": []},
      "logprobs": null,
      "finish_reason": "stop"
    }
  ],
  "usage": {
    "prompt_tokens": 1900,
    "completion_tokens": 10,
    "total_tokens": 1910,
    "prompt_tokens_details": {"cached_tokens": 1536, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
  },
  "service_tier": "default",
  "system_fingerprint": "fp_1"
}
`,
		gateway.Usage{Calls: 1, InputTokens: 1900, OutputTokens: 10, CacheReadTokens: 1536},
	},
	{
		"chat stream that was asked for usage", "/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`, events,
		`data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null,"obfuscation":"x8aF"}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}],"usage":null}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":8},"completion_tokens_details":{"reasoning_tokens":0}}}

data: [DONE]

`,
		gateway.Usage{Calls: 1, InputTokens: 19, OutputTokens: 10, CacheReadTokens: 8},
	},
	{
		"chat stream of a provider that repeats it", "/v1/chat/completions", ask, events,
		": keep-alive\n\n" + `data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}],"usage":{"prompt_tokens":19,"completion_tokens":1,"total_tokens":20}}` + "\r\n\r\n" +
			`data:{"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":2,"total_tokens":71,"completion_tokens_details":{"reasoning_tokens":50}}}` + "\r\n\r\ndata: [DONE]\r\n\r\n",
		gateway.Usage{Calls: 1, InputTokens: 19, OutputTokens: 52},
	},
	{
		"LiteLLM's cache of Anthropic's", "/v1/chat/completions", ask, "application/json",
		`{"choices":[{"message":{"content":"x"}}],"usage":{"completion_tokens":3,"prompt_tokens":2145,"total_tokens":2148,"prompt_tokens_details":{"cached_tokens":2000},"cache_creation_input_tokens":100,"cache_read_input_tokens":2000}}`,
		gateway.Usage{Calls: 1, InputTokens: 2145, OutputTokens: 3, CacheReadTokens: 2000, CacheWriteTokens: 100},
	},
	{
		"completion", "/v1/completions", `{"model":"m","prompt":"Say this"}`, "application/json",
		`{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"text":"this","index":0,"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`,
		gateway.Usage{Calls: 1, InputTokens: 5, OutputTokens: 7},
	},
	{
		"response", "/v1/responses", `{"model":"m","input":"hi"}`, "application/json",
		`{"id":"resp_1","object":"response","created_at":1,"status":"completed","error":null,"incomplete_details":null,"model":"m","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[]}]}],"metadata":{"usage":{"input_tokens":0}},"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":16},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}}`,
		gateway.Usage{Calls: 1, InputTokens: 36, OutputTokens: 87, CacheReadTokens: 16},
	},
	{
		"response stream", "/v1/responses", `{"model":"m","input":"hi","stream":true}`, events,
		`event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"output":[],"usage":null}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hello","obfuscation":"abc"}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":2,"item_id":"msg_1","text":"Hello"}

event: response.completed
data: {"type":"response.completed","sequence_number":3,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"output":[{"type":"message","content":[{"type":"output_text","text":"Hello"}]}],"usage":{"input_tokens":37,"input_tokens_details":{"cached_tokens":0},"output_tokens":11,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":48}}}

`,
		gateway.Usage{Calls: 1, InputTokens: 37, OutputTokens: 11},
	},
	{
		"response stream that tells nothing", "/v1/responses", `{"model":"m"}`, events,
		`data: {"type":"response.output_text.delta","item_id":"msg_1","delta":"Hello wo"}

data: {"type":"response.output_text.done","item_id":"msg_1","text":"Hello wo"}

data: {"type":"response.incomplete","response":{"output":[{"content":[{"text":"Hello wo"}]}],"usage":null}}

`,
		gateway.Usage{Calls: 1, InputTokens: 4, OutputTokens: 2, Estimated: true},
	},
	{
		"message", "/v1/messages", ask, "application/json",
		`{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"Hi!"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":45,"cache_creation_input_tokens":100,"cache_read_input_tokens":2000,"output_tokens":503}}`,
		gateway.Usage{Calls: 1, InputTokens: 2145, OutputTokens: 503, CacheReadTokens: 2000, CacheWriteTokens: 100},
	},
	{
		"message stream", "/v1/messages", ask, events,
		messageStart + `event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}

event: message_stop
data: {"type":"message_stop"}

`,
		gateway.Usage{Calls: 1, InputTokens: 2145, OutputTokens: 15, CacheReadTokens: 2000, CacheWriteTokens: 100},
	},
	{
		"message stream that tells all at its end", "/v1/messages", ask, events,
		`data: {"type":"message_start","message":{"usage":{"input_tokens":0,"output_tokens":0}}}

data: {"type":"message_delta","usage":{"input_tokens":45,"cache_read_input_tokens":7,"output_tokens":15}}

data: {"type":"message_stop"}

`,
		gateway.Usage{Calls: 1, InputTokens: 52, OutputTokens: 15, CacheReadTokens: 7},
	},
	{
		"gemini", "/v1beta/models/g:generateContent", `{"contents":[]}`, "application/json; charset=UTF-8",
		`{"candidates":[{"content":{"parts":[{"text":"Hi"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":264,"candidatesTokenCount":5,"totalTokenCount":300,"cachedContentTokenCount":200,"promptTokensDetails":[{"modality":"TEXT","tokenCount":264}],"thoughtsTokenCount":31},"modelVersion":"g"}`,
		gateway.Usage{Calls: 1, InputTokens: 264, OutputTokens: 36, CacheReadTokens: 200},
	},
	{
		"gemini events", "/v1beta/models/g:streamGenerateContent?alt=sse", `{"contents":[]}`, "text/event-stream",
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"H\"}]}}],\"usageMetadata\":{\"promptTokenCount\":4,\"totalTokenCount\":4}}\r\n\r\n" +
			"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"i\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":8,\"totalTokenCount\":12}}\r\n\r\n",
		gateway.Usage{Calls: 1, InputTokens: 4, OutputTokens: 8},
	},
	{
		"gemini array", "/v1beta/models/g:streamGenerateContent", `{"contents":[]}`, "application/json",
		`[{"candidates":[{"content":{"parts":[{"text":"H"}]}}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":1}}
,
{"candidates":[{"content":{"parts":[{"text":"i"}]}}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":8,"toolUsePromptTokenCount":2}}]`,
		gateway.Usage{Calls: 1, InputTokens: 6, OutputTokens: 8},
	},
	{
		"gemini embedding", "/v1beta/models/g:embedContent", `{"content":{"parts":[{"text":"hi"}]}}`, "application/json",
		`{"embedding":{"values":[0.1,0.2]}}`,
		gateway.Usage{Calls: 1, InputTokens: 10, Estimated: true},
	},
	{
		"embeddings", "/v1/embeddings", `{"model":"e","input":"hi"}`, "application/json",
		`{"object":"list","data":[{"object":"embedding","index":0,"embedding":[` + strings.Repeat("-0.0023,", 5000) + `1]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}`,
		gateway.Usage{Calls: 1, InputTokens: 8},
	},
	{
		"embeddings that tell a total", "/v1/embeddings", `{"model":"e","input":"hi"}`, "application/json",
		`{"data":[{"embedding":"AAAA"}],"usage":{"total_tokens":8}}`,
		gateway.Usage{Calls: 1, InputTokens: 8},
	},
	{
		"rerank", "/v1/rerank", `{"model":"r"}`, "application/json",
		`{"id":"r1","results":[{"index":3,"relevance_score":0.99}],"meta":{"billed_units":{"search_units":1},"tokens":{"input_tokens":120,"output_tokens":0}}}`,
		gateway.Usage{Calls: 1, InputTokens: 120},
	},
	{
		"rerank that tells no tokens", "/v1/rerank", `{"model":"r"}`, "application/json",
		`{"id":"r1","results":[{"index":3,"relevance_score":0.99}],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":1}}}`,
		gateway.Usage{Calls: 1, InputTokens: 4, OutputTokens: 1, Estimated: true},
	},
	{
		"image", "/v1/images/generations", `{"model":"i","prompt":"a cat"}`, "application/json",
		`{"created":1,"data":[{"b64_json":"` + strings.Repeat("QUJD", 5000) + `"}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}`,
		gateway.Usage{Calls: 1, InputTokens: 50, OutputTokens: 50},
	},
	{
		"speech", "/v1/audio/speech", `{"model":"tts","input":"hello"}`, "audio/mpeg", strings.Repeat("\xff\xfb", 3000),
		gateway.Usage{Calls: 1, InputTokens: 8, Estimated: true},
	},
	{
		"transcription as text", "/v1/audio/transcriptions", `{"model":"w"}`, "text/plain; charset=utf-8", "so it was said\n",
		gateway.Usage{Calls: 1, InputTokens: 4, OutputTokens: 4, Estimated: true},
	},
	{
		"zeros beside words", "/v1/chat/completions", ask, "application/json",
		`{"choices":[{"message":{"role":"assistant","content":"ten chars."}}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`,
		gateway.Usage{Calls: 1, InputTokens: 16, OutputTokens: 3, Estimated: true},
	},
	{
		"nonsense", "/v1/chat/completions", ask, "application/json",
		`{"usage":{"prompt_tokens":-5,"completion_tokens":"7","total_tokens":1e300},"response":{"choices":{"usage":{"prompt_tokens":9}}}}`,
		gateway.Usage{Calls: 1, InputTokens: 16, OutputTokens: 1, Estimated: true},
	},
	{"nothing", "/v1/chat/completions", ask, "application/json", "", gateway.Usage{Calls: 1, InputTokens: 16, Estimated: true}},
	{"an event of no end", "/v1/chat/completions", ask, events, "data: " + strings.Repeat("[", 100_000), gateway.Usage{Calls: 1, InputTokens: 16, Estimated: true}},
}
