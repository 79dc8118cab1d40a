package ca

import (
	"container/list"
	"crypto/tls"
	"sync"
	"time"
)

const (
	maxLeafs  = 1024           // some 1.5 MiB
	leafLife  = 24 * time.Hour // from now on
	leafRenew = 30 * time.Minute
)

// leafs are the certificates made last.
type leafs struct {
	mu    sync.Mutex // guards what follows
	hosts map[string]*list.Element
	order *list.List // of *leaf, the one used last first
}

// leaf is one certificate, that is perhaps still to be made.
type leaf struct {
	host  string
	stale time.Time
	sign  func() (*tls.Certificate, error) // once, then remembers
}

func newLeafs() *leafs { return &leafs{hosts: map[string]*list.Element{}, order: list.New()} }

// find returns the host's certificate, which sign makes when there is none that lasts.
// Callers for one host wait for one sign, those for other hosts for nothing.
func (l *leafs) find(host string, now time.Time, sign func() (*tls.Certificate, error)) (*tls.Certificate, error) {
	e := l.entry(host, now, sign)
	cert, err := e.sign()
	if err != nil {
		l.forget(e)
	}
	return cert, err
}

func (l *leafs) entry(host string, now time.Time, sign func() (*tls.Certificate, error)) *leaf {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.hosts[host]; ok {
		if e, _ := found.Value.(*leaf); now.Before(e.stale) {
			l.order.MoveToFront(found)
			return e
		}
		l.drop(found)
	}
	e := &leaf{host: host, stale: now.Add(leafLife - leafRenew), sign: sync.OnceValues(sign)}
	l.hosts[host] = l.order.PushFront(e)
	if l.order.Len() > maxLeafs {
		l.drop(l.order.Back())
	}
	return e
}

// forget lets the next caller try again.
func (l *leafs) forget(e *leaf) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.hosts[e.host]; ok && found.Value == e {
		l.drop(found)
	}
}

func (l *leafs) drop(found *list.Element) {
	if e, ok := l.order.Remove(found).(*leaf); ok {
		delete(l.hosts, e.host)
	}
}
