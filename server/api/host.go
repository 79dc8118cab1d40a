package api

import (
	"slices"
	"strconv"
	"strings"

	"lap/sandbox/vault/rule"
)

// validHost reports whether entry, without blanks around it, is a host entry.
func validHost(entry string) bool {
	_, err := rule.ParseEntry(entry)
	return err == nil
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

// envHosts reads the member env_var_hosts, nil when absent. Its keys must be among names.
// check, which may be nil, sees each host with its place. Keys bound to no host are left out.
func envHosts(in *object, names []string, check func(v value, i int, host string)) map[string][]string {
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
			if check != nil {
				check(v, i, host)
			}
		}
		if len(list) > 0 {
			bindings[name] = list
		}
	}
	return bindings
}

// coveredBy is a check of envHosts: allow must cover all hosts.
func coveredBy(allow []string) func(v value, i int, host string) {
	return func(v value, i int, host string) {
		if !rule.Covers(allow, host) {
			v.add(v.rank, v.path+"."+strconv.Itoa(i), "host %q is not covered by allow_out", clip(host))
		}
	}
}
