package sandbox

// ProxyAddr is the loopback address inside every sandbox of the way out: an HTTP proxy,
// also for CONNECT, and a SOCKS5 proxy on one port.
const ProxyAddr = "127.0.0.1:3128"

// MaxEgressLine bounds the two lines that a connection out of a sandbox begins with, in
// bytes with their newline.
const MaxEgressLine = 4 << 10

// BlockedHeader and BlockedValue mark an answer that is not a host's but that of a rule, as
// on the reference platform.
const (
	BlockedHeader = "X-Vault-Blocked"
	BlockedValue  = "egress-policy"
)

// How a program in a sandbox asked for a connection.
const (
	ViaProxy   = "proxy"   // HTTP proxy
	ViaSOCKS   = "socks"   // SOCKS5
	ViaCapture = "capture" // it knows no proxy
)

// An EgressRequest is the first line, in JSON, of a stream of pipe.Egress: what the guest
// wants to be connected with. The host answers with one line, an EgressAnswer; what follows
// is the connection's.
type EgressRequest struct {
	Host string `json:"host"` // a name, or an address without brackets
	Port int    `json:"port"`
	Via  string `json:"via"` // ViaProxy, ViaSOCKS or ViaCapture
}

// An EgressAnswer is the host's answer to an EgressRequest. Without Error the connection
// is there. A refused captured connection is there, too, when its program can be told in
// its own protocol why it leads nowhere.
type EgressAnswer struct {
	Error   string `json:"error,omitempty"`   // a sentence for who asked
	Refused bool   `json:"refused,omitempty"` // by a rule; else the connection could not be made
}
