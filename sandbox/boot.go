package sandbox

// WorkDir is where a sandbox's working tree is.
const WorkDir = "/work/repo"

// Loopback addresses inside every sandbox that lead to the host.
const (
	GatewayAddr  = "127.0.0.1:4000" // the model gateway
	PlatformAddr = "127.0.0.1:4001" // lap's REST API, as the session's own agent
)

// A Boot tells a fresh guest whose session it runs. It travels over the pipe, never
// through the engine.
type Boot struct {
	Session string            `json:"session"`
	Agent   string            `json:"agent"`
	Harness string            `json:"harness"`
	Env     map[string]string `json:"env"` // on top of the image's own; credentials are stubs
	Files   []File            `json:"files"`

	CA           string  `json:"ca,omitempty"`           // certificates that the sandbox is to trust, PEM
	Requirements string  `json:"requirements,omitempty"` // installed with pip
	Setup        []Setup `json:"setup,omitempty"`        // run in this order, after Requirements

	// Sealed is kept for the host, who alone can read it.
	Sealed string `json:"sealed,omitempty"`
}

// A Setup is a command that prepares a working tree.
type Setup struct {
	Name    string `json:"name"` // for messages
	Dir     string `json:"dir"`
	Command string `json:"command"` // for sh -c
}

// A File is written into the sandbox before its harness starts.
type File struct {
	Path    string `json:"path"` // absolute, or relative to the home directory
	Content []byte `json:"content"`
	Mode    uint32 `json:"mode"` // permission bits; 0: 0644
}

// A BootEvent is one line of the guest's answer to a Boot, in newline-delimited JSON.
// The last line has Done or Error.
type BootEvent struct {
	Phase  string `json:"phase,omitempty"`
	Detail string `json:"detail,omitempty"` // with Phase: what is being done, one line
	Done   bool   `json:"done,omitempty"`
	Guest  string `json:"guest,omitempty"` // with Done: the id of the guest process
	Error  string `json:"error,omitempty"`
}
