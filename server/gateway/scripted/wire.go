package scripted

// Created is the time of every answer, Unix seconds: the same request gets the same bytes.
const Created = 1735689600 // 2025-01-01T00:00:00Z

// wire is a form in which a model is asked and answers.
type wire interface {
	// parse reads a body that the caller has bounded. It copies no images.
	parse(body []byte) (*request, error)
	// whole is the body of an answer that does not stream.
	whole(req *request, a answer) any
	// stream sends the events of an answer.
	stream(s *stream, a answer)
	// fail sends what ends a stream in which an error comes up.
	fail(s *stream, e *Error)
}

// api is what is answered at one path.
type api struct {
	wire
	count func(tokens int) any // nil: the model is run, not only its prompt counted
}

// apis are by path below /v1.
var apis = map[string]api{
	"chat/completions":       {wire: chat{}},
	"messages":               {wire: messages{}},
	"messages/count_tokens":  {wire: messages{}, count: countedMessages},
	"responses":              {wire: responses{}},
	"responses/input_tokens": {wire: responses{}, count: countedResponses},
}

// Answers reports whether scripted models answer POST requests at a path below /v1.
func Answers(path string) bool {
	_, ok := apis[path]
	return ok
}
