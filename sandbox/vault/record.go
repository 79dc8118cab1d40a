package vault

import (
	"time"

	"lap/sandbox/vault/swap"
)

// A Connection is one connection that a sandbox asked for, when it is over.
type Connection struct {
	Sandbox  string
	At       time.Time
	Host     string // as it was asked for
	Port     int
	Address  string // that was dialled; empty: none
	Via      string
	Rule     string // that decided
	Reason   string // why there was no connection; empty: there was one
	Refused  bool   // by a rule
	Opened   bool   // its HTTP was read
	Sent     int64  // bytes
	Received int64  // bytes
	Duration time.Duration
}

// A Request is an HTTP request that was read, when it has been answered, or a connection
// that was refused or passed on unread, which has the method CONNECT and the path "/".
type Request struct {
	Sandbox string
	At      time.Time
	Method  string
	Host    string
	Path    string // with stubs, without query
	Status  int    // of the answer; 0: none
	Blocked bool
	Note    string // why it was blocked, or not read
	swap.Report
}
