package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"testing"
)

// apt installs packages, from an open repository by plain HTTP and from a private one.
func (b *box) apt(t *testing.T) {
	b.needs(t, b.session, "apt-get")
	first, second := newDeb(t, "lap-first"), newDeb(t, "lap-second")
	b.far.Handle("deb.clients.test/", debRepository(first))
	b.far.HandleFunc("safe.clients.test/", b.far.guarded(debRepository(second).ServeHTTP))
	b.put(t, "/work/open.list", "deb [trusted=yes] http://deb.clients.test stable main\n")
	b.put(t, "/work/private.list", "deb [trusted=yes] https://safe.clients.test stable main\n")
	const options = "-qq -o Dir::Etc::sourceparts=- -o Acquire::Languages=none -o Dir::Etc::sourcelist=/work/"
	install := func(list, name string) string {
		return "apt-get update " + options + list + " 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y " + options + list + " " + name + " >/work/log 2>&1 || cat /work/log; " + name
	}
	b.try(t, []clientTest{
		{"plain HTTP", install("open.list", "lap-first"), "this is lap-first"},
		{
			"private", `echo "machine https://safe.clients.test login me password $KEY" >/etc/apt/auth.conf.d/me.conf; ` +
				install("private.list", "lap-second"), "this is lap-second",
		},
		{"private captured", "rm -rf /var/lib/apt/lists; apt-get update " + options + "private.list -o Acquire::https::Proxy=DIRECT 2>&1; apt-cache policy " + options + "private.list lap-second | grep -c safe.clients.test", "2"},
	})
}

// A deb is a Debian package.
type deb struct {
	name string
	file []byte
}

// newDeb makes a package with one program.
func newDeb(t *testing.T, name string) deb {
	t.Helper()
	control := "Package: " + name + "\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@example.com>\nDescription: probe\n"
	var out bytes.Buffer
	out.WriteString("!<arch>\n")
	for _, member := range []struct {
		name string
		data []byte
	}{
		{"debian-binary", []byte("2.0\n")},
		{"control.tar.gz", packed(t, map[string]string{"./control": control})},
		{"data.tar.gz", packed(t, map[string]string{"./usr/bin/" + name: "#!/bin/sh\necho this is " + name + "\n"})},
	} {
		fmt.Fprintf(&out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", member.name, 0, 0, 0, "100644", len(member.data))
		out.Write(member.data)
		if len(member.data)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	return deb{name, out.Bytes()}
}

// debRepository serves a repository with one package.
func debRepository(d deb) http.Handler {
	packages := fmt.Sprintf("Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@example.com>\nFilename: pool/%s.deb\nSize: %d\nSHA256: %x\nDescription: probe\n",
		d.name, d.name, len(d.file), sha256.Sum256(d.file))
	release := "Origin: lap\nSuite: stable\nCodename: stable\nArchitectures: amd64 arm64 all\nComponents: main\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
	for _, arch := range []string{"amd64", "arm64", "all"} {
		release += fmt.Sprintf(" %x %d main/binary-%s/Packages\n", sha256.Sum256([]byte(packages)), len(packages), arch)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/dists/stable/Release", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, release) })
	mux.HandleFunc("/dists/stable/main/{binary}/Packages", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, packages) })
	mux.HandleFunc("/pool/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.debian.binary-package")
		_, _ = w.Write(d.file) // the client may be gone
	})
	return mux
}
