//go:build linux

package guest

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// No tar writes outside of its directory, or anything but files, directories and links
// into it.
func FuzzUnpack(f *testing.F) {
	for _, members := range [][]tar.Header{
		{{Typeflag: tar.TypeReg, Name: "a/b", Size: 3}, {Typeflag: tar.TypeDir, Name: "d"}, {Typeflag: tar.TypeLink, Name: "h", Linkname: "a/b"}},
		{{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../out"}, {Typeflag: tar.TypeReg, Name: "l/x", Size: 3}},
		{{Typeflag: tar.TypeSymlink, Name: "l", Linkname: ".."}, {Typeflag: tar.TypeLink, Name: "l/h", Linkname: "l/out/secret"}},
		{{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "l"}, {Typeflag: tar.TypeDir, Name: "l/d/"}, {Typeflag: tar.TypeFifo, Name: "p"}},
	} {
		var b bytes.Buffer
		tw := tar.NewWriter(&b)
		for _, h := range members {
			if err := tw.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
			_, _ = tw.Write(make([]byte, h.Size)) // into memory
		}
		_ = tw.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.MkdirAll(dir+"/out", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir+"/in", 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir + "/in")
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		_ = unpack(bytes.NewReader(text), root) // whatever it says
		for _, pattern := range []string{dir + "/*", dir + "/out/*", dir + "/.*", dir + "/out/.*"} {
			names, _ := filepath.Glob(pattern)
			for _, name := range names {
				if name != dir+"/in" && name != dir+"/out" {
					t.Errorf("%s was made", name)
				}
			}
		}
	})
}
