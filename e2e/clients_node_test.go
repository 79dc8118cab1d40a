package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// nodeFiles are programs that print what the far side answers.
var nodeFiles = map[string]string{
	"fetch": `fetch("https://key.clients.test/echo", {headers: {authorization: "Bearer " + process.env.KEY}})
	.then(r => r.text()).then(console.log, console.log)`,
	"post": `fetch("https://key.clients.test/echo", {method: "POST", body: "x".repeat(100000), headers: {authorization: "Bearer " + process.env.KEY}})
	.then(r => r.text()).then(console.log, console.log)`,
	"https": `require("https").get("https://key.clients.test/echo", {auth: "me:" + process.env.KEY}, r => r.pipe(process.stdout)).on("error", console.log)`,
	"http2": `const c = require("http2").connect("https://key.clients.test").on("error", console.log)
c.request({":path": "/echo", authorization: "Bearer " + process.env.KEY}).on("end", () => c.close()).pipe(process.stdout)`,
	"socket": `const ws = new WebSocket("wss://key.clients.test/socket?key=" + process.env.KEY)
ws.onopen = () => ws.send("one")
ws.onmessage = m => { console.log(m.data.replace(/key \S+/, k => "key of " + k.length)); m.data.endsWith("one") ? ws.send("two") : ws.close() }
ws.onerror = e => console.log(e.message, e.error)`,
}

func (b *box) nodePrograms(t *testing.T) {
	b.needs(t, b.session, "node")
	for name, text := range nodeFiles {
		b.put(t, "/work/"+name+".js", text)
	}
	talk := fmt.Sprintf("key of %d one\ntwo", len("key "+realKey)) // overwritten: a frame has a length
	tests := []clientTest{
		{"fetch", "node /work/fetch.js", "GET STUB"},
		{"fetch captured", direct + "node /work/fetch.js", "GET STUB"},
		{"post", "node /work/post.js", "POST STUB"},
		{"https", "node /work/https.js", "GET STUB"},
		{"https captured", direct + "node /work/https.js", "GET STUB"},
		{"http2 captured", "node /work/http2.js", "GET STUB"},
	}
	if got := b.sh(t, b.session, "node -p 'typeof WebSocket'"); got == "function" || b.on.engine != nil { // this machine's may be older
		tests = append(tests, clientTest{"websocket", "node /work/socket.js", talk}, clientTest{"websocket captured", direct + "node /work/socket.js", talk})
	}
	b.try(t, tests)
}

// npm installs a package from a private registry.
func (b *box) npm(t *testing.T) {
	b.needs(t, b.session, "npm")
	archive := packed(t, map[string]string{
		"package/package.json": `{"name":"lap-probe","version":"1.0.0","main":"index.js"}`, "package/index.js": `console.log("probed")`,
	})
	sum := sha512.Sum512(archive)
	const at = "https://npm.clients.test/lap-probe/-/lap-probe-1.0.0.tgz"
	about := fmt.Sprintf(`{"name":"lap-probe","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"lap-probe","version":"1.0.0","dist":{"tarball":%q,"integrity":"sha512-%s"}}}}`,
		at, base64.StdEncoding.EncodeToString(sum[:]))
	b.far.HandleFunc("npm.clients.test/", b.far.guarded(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".tgz") {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write(archive) // the client may be gone
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(about))
	}))
	for _, dir := range []string{"p", "q"} {
		b.put(t, "/work/"+dir+"/package.json", "{}")
		b.put(t, "/work/"+dir+"/.npmrc", "registry=https://npm.clients.test/\n//npm.clients.test/:_authToken=${KEY}\naudit=false\nfund=false\nupdate-notifier=false\n")
	}
	const install = "npm install --cache /work/$PWD/cache lap-probe 2>&1 | grep -o 'added 1 package'; node -e 'require(\"lap-probe\")'"
	b.try(t, []clientTest{
		{"install", "cd /work/p && " + strings.ReplaceAll(install, "/work/$PWD", "/work/p"), "added 1 package\nprobed"},
		{"install captured", "cd /work/q && " + direct + strings.ReplaceAll(install, "/work/$PWD", "/work/q"), "added 1 package\nprobed"},
	})
}

// packed is a gzipped tar archive.
func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for name, text := range files {
		mode := int64(0o644)
		if strings.Contains(name, "/bin/") {
			mode = 0o755
		}
		if err := archive.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
