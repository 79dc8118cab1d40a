package vault

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"lap/sandbox"
	"lap/sandbox/vault/rule"
)

// foreignTLS are ports on which TLS carries other protocols than HTTP from its first byte.
var foreignTLS = []uint16{465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 5061, 5671, 6697, 8883}

// carry joins the sandbox with up, reading what must be read.
func (c *connection) carry(ctx context.Context, policy Policy, up net.Conn) {
	opens := policy.opens(c.target)
	if !opens {
		c.passes()
	}
	if !opens && !policy.looks() {
		splice(c.down, c.in, up)
		return
	}
	server := bufio.NewReaderSize(up, sandbox.MaxEgressLine)
	clientFirst, err := firstSpeaker(side{c.down, c.in}, side{up, server})
	if err != nil || c.isClosed() {
		return // either side has gone
	}
	what := protocolOther
	if clientFirst || speaksHTTP2(server) {
		what = sniff(c.in, opens)
	}
	up = &prefixed{up, server}
	switch what {
	case protocolTLS:
		c.carryTLS(ctx, policy, up, opens)
	case protocolHTTP:
		c.open(ctx, up, c.in, false)
	default:
		splice(c.down, c.in, up)
	}
}

// carryTLS opens TLS when a credential could be swapped in it, and passes it on otherwise.
func (c *connection) carryTLS(ctx context.Context, policy Policy, up net.Conn, opens bool) {
	name, taken, err := readHello(ctx, c.in)
	if err != nil {
		c.refuse(rule.Decision{Rule: "no TLS", Reason: "the TLS to " + c.target.String() + " cannot be understood"})
		return
	}
	in := io.MultiReader(bytes.NewReader(taken), c.in)
	if d := c.names(policy, name); !d.Allowed {
		c.refuse(d)
		c.explain(ctx, in, name)
		return
	}
	note := "passed on unopened: no credential of this session is bound to " + c.target.String()
	if opens {
		if !slices.Contains(foreignTLS, c.target.Port) {
			c.open(ctx, up, in, true)
			return
		}
		note = "passed on unopened: port " + strconv.Itoa(int(c.target.Port)) + " is not one of HTTP"
	}
	c.request(Request{Method: http.MethodConnect, Path: "/", Note: note})
	splice(c.down, in, up)
}

// names decides about the name that TLS is for. A bare address without any could be one of
// a host that a credential is bound to, asked for in a way in which nobody can tell.
func (c *connection) names(policy Policy, name string) rule.Decision {
	switch {
	case name != "":
		return policy.name(c.target, name)
	case c.target.Name == "" && policy.looks() && !policy.Rules.Lists(c.target):
		return rule.Decision{Rule: "no name", Reason: "TLS to the bare address " + c.target.String() +
			" is not passed on from a sandbox with credentials or rules: connect by name, or add the address to allow_out"}
	}
	return rule.Decision{Allowed: true}
}

// request tells of something seen on the connection.
func (c *connection) request(r Request) {
	r.Sandbox, r.Host = c.sandbox, c.target.String()
	if r.At.IsZero() {
		r.At = time.Now()
	}
	c.vault.cfg.Requested(r)
}
