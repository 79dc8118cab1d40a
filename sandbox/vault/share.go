package vault

// What one sandbox may take of this process at a time. Its streams are bounded by its pipe,
// and what each holds by the sizes in vault.go.
const (
	maxUpstream = 512 // connections to hosts
	maxOpen     = 256 // requests that are read
)

// A share is what one sandbox has of a Vault at this moment.
type share struct {
	conns    map[*connection]bool
	upstream int // connections to hosts
	requests int // that are read
}

func (v *Vault) add(c *connection) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sandboxes[c.sandbox]
	if s == nil {
		s = &share{conns: map[*connection]bool{}}
		v.sandboxes[c.sandbox] = s
	}
	s.conns[c] = true
}

// remove forgets a connection. Who has something of the share still holds it.
func (v *Vault) remove(c *connection) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.sandboxes[c.sandbox]; s != nil {
		delete(s.conns, c)
		v.drop(c.sandbox, s)
	}
}

// drop forgets a share that nobody has anything of. v.mu is held.
func (v *Vault) drop(sandbox string, s *share) {
	if len(s.conns) == 0 && s.upstream == 0 && s.requests == 0 {
		delete(v.sandboxes, sandbox)
	}
}

// open returns the connections of a sandbox.
func (v *Vault) open(sandbox string) []*connection {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []*connection
	if s := v.sandboxes[sandbox]; s != nil {
		for c := range s.conns {
			all = append(all, c)
		}
	}
	return all
}

// take counts one more of what which tells, and reports whether the sandbox may have it;
// then the caller gives it back.
func (v *Vault) take(c *connection, which func(*share) *int, most int) (giveBack func(), ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sandboxes[c.sandbox]
	if s == nil || *which(s) >= most {
		return nil, false
	}
	*which(s)++
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		*which(s)--
		v.drop(c.sandbox, s)
	}, true
}

func upstreams(s *share) *int { return &s.upstream }
func requests(s *share) *int  { return &s.requests }
