package server

import (
	"fmt"
	"net/netip"
	"strings"

	"lap/sandbox/vault/rule"
	"lap/sandbox/vault/swap"
)

// hostList accepts a comma list of host entries.
func hostList(field func(*Settings) *[]rule.Entry) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		for _, text := range commaList(v) {
			entry, err := rule.ParseEntry(text)
			if err != nil {
				return fmt.Errorf("%q: %w", text, err)
			}
			*field(s) = append(*field(s), entry)
		}
		return nil
	}
}

// setResolve accepts a comma list of name=address, with or without a port.
func setResolve(s *Settings, v string) error {
	s.Resolve = map[string]netip.AddrPort{}
	for _, pair := range commaList(v) {
		name, at, ok := strings.Cut(pair, "=")
		target, err := rule.ParseTarget(name, 1)
		if !ok || err != nil || target.Name == "" {
			return fmt.Errorf("%q is no name=address, such as api.example.com=127.0.0.1:8443", pair)
		}
		addr, err := netip.ParseAddrPort(at)
		if err != nil {
			bare, err := netip.ParseAddr(at)
			if err != nil {
				return fmt.Errorf("%q is no name=address, such as api.example.com=127.0.0.1:8443", pair)
			}
			addr = netip.AddrPortFrom(bare, 0)
		}
		s.Resolve[target.Name] = addr
	}
	return nil
}

func setBodies(s *Settings, v string) error {
	switch v {
	case "oauth":
		s.SwapBodies = swap.BodiesOAuth
	case "text":
		s.SwapBodies = swap.BodiesText
	default:
		return fmt.Errorf("%q is neither oauth nor text", v)
	}
	return nil
}

func setEnvPlain(s *Settings, v string) error {
	s.EnvPlain = commaList(v)
	return nil
}
