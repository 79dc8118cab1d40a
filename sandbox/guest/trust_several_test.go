//go:build linux

package guest_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"lap/sandbox/guest"
)

// TestTrustSeveral trusts lap's certificate and two of the operator's, then another of the
// operator's in their place.
func TestTrustSeveral(t *testing.T) {
	i := newImage(t)
	const bundle, anchors = "/etc/ssl/certs/ca-certificates.crt", "/usr/local/share/ca-certificates/"
	root, mine, second, third, last := authority(t), authority(t), authority(t), authority(t), authority(t)
	i.write(bundle, root)
	i.write("/etc/ssl/certs/java/cacerts", p12(t, pkcs12.LegacyRC2, "changeit", root))
	i.trust(mine + "\n# of the company\n" + second + third + mine)
	i.holds(root+mine+second+third, bundle)
	i.holds(mine+second+third, own)
	i.holds(mine, anchors+"lap.crt")
	i.holds(second, anchors+"lap-2.crt")
	i.holds(third, anchors+"lap-3.crt")
	i.browsersAndJava(root, mine, second, third)

	i.trust(mine + last)
	i.holds(root+mine+last, bundle)
	i.holds(last, anchors+"lap-2.crt")
	i.browsersAndJava(root, mine, last)
	for path, text := range i.files() {
		if strings.Contains(text, second) || strings.Contains(text, third) {
			t.Errorf("%s still has one of before", path)
		}
	}
	if links, _ := filepath.Glob(i.root + "/etc/ssl/certs/*.0"); len(links) != 2 {
		t.Errorf("links = %q, want one for each authority", links)
	}
}

func (i *image) holds(want string, path string) {
	i.t.Helper()
	if diff := cmp.Diff(want, i.read(path)); diff != "" {
		i.t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// browsersAndJava checks what Chromium and the JVM are told to trust: certs, and the JVM
// root, too.
func (i *image) browsersAndJava(root string, certs ...string) {
	i.t.Helper()
	var policy struct{ CACertificates [][]byte }
	if err := json.Unmarshal([]byte(i.read("/etc/chromium/policies/managed/lap.json")), &policy); err != nil {
		i.t.Fatal(err)
	}
	var want [][]byte
	for _, cert := range certs {
		want = append(want, certificateOf(i.t, cert).Raw)
	}
	if diff := cmp.Diff(want, policy.CACertificates); diff != "" {
		i.t.Error(diff)
	}
	got, err := guest.ReadJKS([]byte(i.read("/var/lib/lap/truststore.jks")))
	if err != nil {
		i.t.Fatal(err)
	}
	want = slices.Concat(want, [][]byte{certificateOf(i.t, root).Raw})
	if diff := cmp.Diff(want, got); diff != "" {
		i.t.Error(diff)
	}
}
