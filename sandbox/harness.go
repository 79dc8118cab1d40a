package sandbox

// A Kind says how a harness is driven.
type Kind string

// The kinds of harness.
const (
	KindAPI    Kind = "api"    // the opencode HTTP wire
	KindTUI    Kind = "tui"    // a program under a pseudo-terminal
	KindInline Kind = "inline" // one shared server without a sandbox per session
)

// HarnessLap is the id of the built-in agent.
const HarnessLap = "lap"

// A Harness is one row of the table of programs that can be an agent.
type Harness struct {
	ID    string
	Kind  Kind
	Image string // the default image; empty when this lap cannot run the harness
	// IdleMemory is what a sandbox takes at most before its first turn, in bytes.
	IdleMemory int64
}

// Harnesses returns the table, in the order it is shown to users.
func Harnesses() []Harness {
	return []Harness{
		{ID: "opencode", Kind: KindAPI},
		{ID: "claude-agent-sdk", Kind: KindAPI},
		{ID: "claude-code", Kind: KindTUI},
		{ID: "codex", Kind: KindTUI},
		{ID: "hermes", Kind: KindTUI},
		{ID: "gemini", Kind: KindTUI},
		{ID: "claude-code-brain-inline", Kind: KindInline},
		{ID: "opencode-brain-inline", Kind: KindInline},
		{ID: HarnessLap, Kind: KindAPI, Image: "buildpack-deps:bookworm-scm", IdleMemory: 24 << 20},
	}
}

// LookupHarness returns the harness with the given id.
func LookupHarness(id string) (Harness, bool) {
	for _, h := range Harnesses() {
		if h.ID == id {
			return h, true
		}
	}
	return Harness{}, false
}
