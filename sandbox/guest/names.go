//go:build linux

package guest

import (
	"container/list"
	"encoding/binary"
	"net/netip"
	"sync"
)

// standIns are the addresses that stand for names: those set aside for tests of network
// devices, which nothing outside has.
var standIns = netip.MustParsePrefix("198.18.0.0/15")

// maxNames is how many names can have an address at once: all of standIns but the first.
const maxNames = 1<<17 - 1

// names gives names addresses. Those longest out of use give way to new ones.
type names struct {
	limit int

	mu    sync.Mutex // guards all below
	order list.List  // of *named, the last used first
	names map[string]*list.Element
	addrs map[uint32]*list.Element
}

// A named is one name with its address, as its distance from the first of standIns.
type named struct {
	name string
	addr uint32
}

func newNames(limit int) *names {
	return &names{limit: limit, names: make(map[string]*list.Element), addrs: make(map[uint32]*list.Element)}
}

// addr returns the address that stands for name.
func (n *names) addr(name string) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, known := n.names[name]
	switch {
	case known:
		n.order.MoveToFront(e)
	case n.order.Len() < n.limit:
		e = n.order.PushFront(&named{name, uint32(n.order.Len() + 1)})
		n.names[name], n.addrs[e.Value.(*named).addr] = e, e
	default:
		e = n.order.Back()
		n.order.MoveToFront(e)
		old := e.Value.(*named)
		delete(n.names, old.name)
		old.name, n.names[name] = name, e
	}
	first := standIns.Addr().As4()
	sum := binary.BigEndian.Uint32(first[:]) + e.Value.(*named).addr
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, sum)))
}

// name returns the name that an address of standIns stands for.
func (n *names) name(addr netip.Addr) (string, bool) {
	first, b := standIns.Addr().As4(), addr.Unmap().As4()
	n.mu.Lock()
	defer n.mu.Unlock()
	e, known := n.addrs[binary.BigEndian.Uint32(b[:])-binary.BigEndian.Uint32(first[:])]
	if !known {
		return "", false
	}
	n.order.MoveToFront(e)
	return e.Value.(*named).name, true
}

// standsForName reports whether an address is one that is given to names.
func standsForName(addr netip.Addr) bool { return standIns.Contains(addr.Unmap()) }
