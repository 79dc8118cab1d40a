package cassette

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// version is that of the form of files.
const version = 1

const head = `# A cassette of lap: calls of models with their answers, one document for each. Requests
# are in a form that is the same from run to run. See docs/cassettes.md.
cassette: 1
`

// encode writes a value as YAML.
func encode(v *yaml.Node) (string, error) {
	text, err := yaml.Dump(v, yaml.WithIndent(2), yaml.WithLineWidth(-1), yaml.WithCompactSeqIndent())
	return string(text), err
}

// mapping is one of pairs of a name and a value, in this order and without nil values.
func mapping(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != nil {
			n.Content = append(n.Content, node(pairs[i]), node(pairs[i+1]))
		}
	}
	return n
}

// node is a value of JSON as YAML. Members are sorted.
func node(v any) *yaml.Node {
	switch v := v.(type) {
	case *yaml.Node:
		return v
	case string:
		return stringNode(v)
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if len(v) == 0 {
			n.Style = yaml.FlowStyle
		}
		for _, element := range v {
			n.Content = append(n.Content, node(element))
		}
		return n
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode}
		if len(v) == 0 {
			n.Style = yaml.FlowStyle
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, stringNode(name), node(v[name]))
		}
		return n
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}
	default: // a json.Number, int or bool
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}
	}
}

// stringNode writes lines as lines wherever YAML keeps them as they are.
func stringNode(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	switch {
	case strings.Contains(text, "\n") && isPlain(text):
		n.Style = yaml.LiteralStyle
	case !plainWords.MatchString(text) || strings.Contains(text, ": ") || scalarOf(text) != any(text):
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// isPlain reports whether a text of lines can be written as such.
func isPlain(text string) bool {
	if strings.ContainsAny(text[:1], " \t\n") {
		return false
	}
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '\n' && r != '\t' && (!unicode.IsPrint(r) || r == '\uFFFD')
	})
}

// plainWords need no quotes, whatever a reader of YAML takes for something else.
var plainWords = regexp.MustCompile(`^(?:[A-Za-z]|<[a-z])(?:[A-Za-z0-9_.,:;/<>()*+=?!$ -]*[A-Za-z0-9_.,/<>()*+=?!$-])?$`)

var number = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$`)

// scalarOf is what an unquoted word means: what it does in JSON, or itself.
func scalarOf(word string) any {
	switch {
	case word == "null" || word == "~" || word == "":
		return nil
	case word == "true" || word == "false":
		return word == "true"
	case number.MatchString(word):
		return json.Number(word)
	}
	return word
}

// document is one of a file.
type document struct {
	Cassette int       `yaml:"cassette"`
	Model    string    `yaml:"model"`
	Request  string    `yaml:"request"`
	Body     yaml.Node `yaml:"body"`
	Answer   *answer   `yaml:"answer"`
}

type answer struct {
	Status  int               `yaml:"status"`
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
	Base64  string            `yaml:"base64"` // of a body that is no text
}

// Encode writes a call as a document, which begins with the line that sets it apart.
func Encode(c Call) (string, error) {
	headers := map[string]any{}
	for name, value := range c.Answer.Headers {
		headers[name] = value
	}
	place, body := "body", c.Answer.Body
	if !utf8.ValidString(body) {
		place, body = "base64", base64.StdEncoding.EncodeToString([]byte(body))
	}
	text, err := encode(mapping(
		"model", c.Model, "request", c.Request.line, "body", c.Request.body,
		"answer", mapping("status", c.Answer.Status, "headers", headers, place, body),
	))
	return "---\n" + text, err
}

// Decode reads a file and gives its calls, in their order, to each. Its error names the
// line.
func Decode(r io.Reader, each func(Call)) error {
	in, err := yaml.NewLoader(r, yaml.WithKnownFields())
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		var at yaml.Node
		var d document
		err := in.Load(&at)
		if err == nil {
			err = at.Load(&d, yaml.WithKnownFields())
		}
		switch {
		case errors.Is(err, io.EOF) && n > 0:
			return nil
		case errors.Is(err, io.EOF):
			return errors.New("the file is empty: remove it, or put what it was back")
		case err != nil:
			return plainError(err)
		case n == 0 && d.Cassette != version:
			return fmt.Errorf("line 1: it does not begin with \"cassette: %d\", as cassettes do that this lap can read", version)
		case n == 0:
			continue
		}
		c, err := d.call()
		if err != nil {
			return fmt.Errorf("call %d, which begins in line %d: %w", n, lineOf(&at), err)
		}
		each(c)
	}
}

// lineOf is where a document begins.
func lineOf(n *yaml.Node) int {
	if len(n.Content) > 0 {
		return n.Content[0].Line
	}
	return n.Line
}

// call checks the document of a call.
func (d *document) call() (Call, error) {
	a := d.Answer
	switch {
	case d.Request == "":
		return Call{}, errors.New("request: is missing")
	case a == nil:
		return Call{}, errors.New("answer: is missing")
	case a.Status < 200 || a.Status > 599:
		return Call{}, fmt.Errorf("answer: status: %d is not between 200 and 599", a.Status)
	case a.Body != "" && a.Base64 != "":
		return Call{}, errors.New("answer: has both body and base64")
	}
	c := Call{Model: d.Model, Request: Request{line: d.Request}, Answer: Answer{Status: a.Status, Headers: a.Headers, Body: a.Body}}
	if a.Base64 != "" {
		body, err := base64.StdEncoding.DecodeString(a.Base64)
		if err != nil {
			return Call{}, fmt.Errorf("answer: base64: %w", err)
		}
		c.Answer.Body = string(body)
	}
	if d.Body.Kind != 0 {
		var err error
		if c.Request.body, err = valueOf(&d.Body, 0); err != nil {
			return Call{}, err
		}
	}
	return c, c.Request.settle("") // as a lap does that knows more of what differs
}

// valueOf is the value of JSON that a node stands for.
func valueOf(n *yaml.Node, depth int) (any, error) {
	switch {
	case depth > maxDepth+1:
		return nil, fmt.Errorf("line %d: it is nested deeper than %d", n.Line, maxDepth)
	case n.Kind == yaml.ScalarNode && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return n.Value, nil
	case n.Kind == yaml.ScalarNode:
		return scalarOf(n.Value), nil
	case n.Kind == yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for _, element := range n.Content {
			v, err := valueOf(element, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case n.Kind == yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, err := valueOf(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			out[n.Content[i].Value] = v
		}
		return out, nil
	}
	return nil, fmt.Errorf("line %d: anchors and aliases are not known here", n.Line)
}

// goNames are how the decoder's errors speak of what a file holds.
var goNames = strings.NewReplacer(
	" in type cassette.document", " in a call", " in type cassette.answer", " in an answer",
	"cassette.document", "a call", "cassette.answer", "an answer", "field ", "key ", " not found", " is not known", "cannot construct", "cannot turn",
)

// plainError is the first error of the decoder, for who wrote in the file.
func plainError(err error) error {
	first, ok := errors.AsType[*yaml.LoadError](err)
	switch {
	case !ok:
		return err
	case first.Mark.Line == 0:
		return errors.New(first.Message)
	default:
		return fmt.Errorf("line %d: %s", first.Mark.Line, goNames.Replace(first.Message))
	}
}
