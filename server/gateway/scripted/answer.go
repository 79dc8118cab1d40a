package scripted

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// answer is what a model says, in no particular wire format.
type answer struct {
	reasoning, text string
	calls           []call
	finish          string // as a script says it; "" follows from the rest
	usage           *Usage // nil: estimated
	delay, between  time.Duration
	fault           *fault // nil: it comes whole
	failure         *Error // in place of the answer
}

// call is a tool call. arguments should be a JSON object but, as with true models, may
// be anything.
type call struct{ name, arguments string }

// A Usage is how many tokens an answer used. Cached ones are part of the prompt,
// reasoning is of the completion.
type Usage struct{ Prompt, Completion, Cached, Reasoning int }

// reason is why the answer ends: one of finishReasons.
func (a answer) reason() string {
	if len(a.calls) > 0 {
		return cmp.Or(a.finish, finishCalls)
	}
	return cmp.Or(a.finish, finishStop)
}

// bytesPerToken is the whole tokenizer: four bytes of English are about one token.
const bytesPerToken = 4

// imageTokens is what an image counts, however many bytes it has.
const imageTokens = 1_500

func tokens(size int) int { return (size + bytesPerToken - 1) / bytesPerToken }

// tokens is about how many the request has.
func (r *request) tokens() int { return tokens(r.promptSize) + imageTokens*r.images }

// used is the usage that the script gives or, without, an estimate from the bytes of
// the request's messages as sent, its images, and the answer's texts, names and arguments.
func (a answer) used(req *request) Usage {
	if a.usage != nil {
		return *a.usage
	}
	said := len(a.text)
	for _, c := range a.calls {
		said += len(c.name) + len(c.arguments)
	}
	thought := tokens(len(a.reasoning))
	return Usage{Prompt: req.tokens(), Completion: tokens(said) + thought, Reasoning: thought}
}

// id is the same for the same request. prefix is what the wire's ids start with.
func (r *request) id(prefix string) string { return prefix + hex.EncodeToString(r.seed[:12]) }

// partID is the same for the same request, and different for each index.
func (r *request) partID(prefix string, index int) string {
	sum := sha256.Sum256(fmt.Appendf(r.seed[:len(r.seed):len(r.seed)], "call %d", index))
	return prefix + hex.EncodeToString(sum[:12])
}

// wait returns the error of ctx when that ends first.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
