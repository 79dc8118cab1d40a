package api

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxHost is how many characters a host entry has at most.
const maxHost = 253

// hostEntry is the form of a host entry: a name, "*." and a name, an IPv4 address, or
// one with a prefix length. No scheme, no port, no IPv6.
var hostEntry = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9._-]+)(?:/([0-9]{1,2}))?$`)

// validHost reports whether entry, without blanks around it, is a host entry.
func validHost(entry string) bool {
	m := hostEntry.FindStringSubmatch(entry)
	if m == nil || len(entry) > maxHost || strings.Trim(m[2], "._-") == "" {
		return false
	}
	if m[3] == "" {
		return true
	}
	bits, err := strconv.Atoi(m[3])
	ip, ipErr := netip.ParseAddr(m[2])
	return m[1] == "" && err == nil && bits <= 32 && ipErr == nil && ip.Is4()
}

// covers reports whether a list of host entries allows host, itself a host entry.
// Address ranges cover only themselves.
func covers(list []string, host string) bool {
	host = strings.ToLower(host)
	return slices.ContainsFunc(list, func(entry string) bool {
		entry = strings.ToLower(entry)
		domain, wild := strings.CutPrefix(entry, "*.")
		return host == entry || wild && (host == domain || strings.HasSuffix(host, "."+domain))
	})
}

// hosts reads an optional array of host entries, nil when absent.
func hosts(in *object, name string) []string {
	if !in.has(name) {
		return nil
	}
	return hostList(in.members[name])
}

func hostList(v value) []string {
	list := []string{}
	for _, e := range v.array() {
		text, ok := e.text()
		entry := strings.TrimSpace(text)
		switch {
		case !ok:
		case !validHost(entry):
			e.fail("%q is not a host: want a domain, *.domain, an IPv4 address or a range like 10.0.0.0/8, without scheme or port", clip(entry))
		default:
			list = append(list, entry)
		}
	}
	return list
}

// hostBindings reads the member env_var_hosts, nil when absent. Its keys must be among
// names, its hosts covered by allow. Keys bound to no host are left out.
func hostBindings(in *object, names, allow []string) map[string][]string {
	bound := in.Object("env_var_hosts")
	if bound == nil {
		return nil
	}
	bindings := map[string][]string{}
	for _, name := range bound.names() {
		v := bound.members[name]
		v.path = bound.path + clip(name)
		if !envName.MatchString(name) {
			v.fail("invalid env var name")
		} else if !slices.Contains(names, name) {
			v.fail("is not in env_vars")
		}
		list := hostList(v)
		for i, host := range list {
			if !covers(allow, host) {
				v.add(v.rank, v.path+"."+strconv.Itoa(i), "host %q is not covered by allow_out", clip(host))
			}
		}
		if len(list) > 0 {
			bindings[name] = list
		}
	}
	return bindings
}
