//go:build linux

package guest_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// files is the path of the guest's API for a file.
func files(path string) string { return "/files?path=" + url.QueryEscape(path) }

func (f *fixture) write(name, content string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) read(name string) string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

func (f *fixture) mode(name string) os.FileMode {
	f.t.Helper()
	info, err := os.Lstat(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return info.Mode()
}

func TestPutAndReadFile(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(nil))
	for path, where := range map[string]string{
		"a/b.txt": "work/a/b.txt", "~/c.txt": "home/c.txt", f.dir + "/d/e f.txt": "d/e f.txt", "../up.txt": "up.txt",
	} {
		f.send(http.MethodPut, files(path), "text of "+path, http.StatusNoContent)
		if got := f.read(where); got != "text of "+path {
			t.Errorf("%s = %q", where, got)
		}
		if got := f.send(http.MethodGet, files(path), "", http.StatusOK); got != "text of "+path {
			t.Errorf("%s is read as %q", path, got)
		}
	}
	res := f.do(t.Context(), http.MethodHead, files("a/b.txt"), nil)
	if res.ContentLength != int64(len("text of a/b.txt")) || res.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("header = %v", res.Header)
	}
}

func TestPutFileKeepsModeAndLinks(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(nil))
	f.send(http.MethodPut, files("new"), "1", http.StatusNoContent)
	f.send(http.MethodPut, files("run")+"&mode=755", "1", http.StatusNoContent)
	f.send(http.MethodPut, files("run"), "2", http.StatusNoContent)
	if f.mode("work/new") != 0o644 || f.mode("work/run") != 0o755 || f.read("work/run") != "2" {
		t.Errorf("modes = %v, %v", f.mode("work/new"), f.mode("work/run"))
	}
	if err := errors.Join(os.Symlink("run", f.dir+"/work/link"), os.Symlink("nothing", f.dir+"/work/dangling")); err != nil {
		t.Fatal(err)
	}
	f.send(http.MethodPut, files("link"), "3", http.StatusNoContent)
	f.send(http.MethodPut, files("dangling"), "4", http.StatusNoContent)
	if f.read("work/run") != "3" || f.mode("work/link").Type() != os.ModeSymlink || f.mode("work/dangling") != 0o644 {
		t.Errorf("link is %v, dangling %v", f.mode("work/link"), f.mode("work/dangling"))
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(nil))
	f.write("work/dir/file", "x")
	if err := errors.Join(syscall.Mkfifo(f.dir+"/work/fifo", 0o644), os.Symlink("/proc/self", f.dir+"/work/proc"),
		os.Symlink("loop", f.dir+"/work/loop")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		method, path string
		want         int
	}{
		{"GET", "", 400},
		{"PUT", "", 400},
		{"GET", "a\x00b", 400},
		{"GET", strings.Repeat("x/", 3000), 400},
		{"GET", "missing", 404},
		{"GET", "dir/file/x", 409},
		{"GET", "fifo", 409},
		{"GET", "/dev/zero", 409},
		{"GET", "/proc/self/status", 409},
		{"GET", "/proc", 409},
		{"GET", "proc/status", 409},
		{"GET", "loop", 400},
		{"PUT", "dir", 409},
		{"PUT", "dir/file/x", 409},
		{"PUT", "fifo", 409},
		{"PUT", "/dev/lap-test", 400},
		{"PUT", "/proc/sys/kernel/hostname", 400},
		{"PUT", "/sys/x", 400},
		{"PUT", "proc/x", 400},
		{"PUT", "/dev", 400},
		{"PUT", strings.Repeat("x", 300), 400},
	}
	for _, tt := range tests {
		f.send(tt.method, files(tt.path), "body", tt.want)
	}
	f.send(http.MethodPut, files("x")+"&mode=9", "", http.StatusBadRequest)
	f.send(http.MethodPut, files("x")+"&mode=4755", "", http.StatusBadRequest)
	f.send(http.MethodPut, files("dir/file"), "", http.StatusConflict, "Content-Type", "application/x-tar")
}

func TestPutFileThatBreaksOff(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(nil))
	f.write("work/file", "before")
	body := io.MultiReader(strings.NewReader("half"), brokenReader{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, f.url+files("file"), body)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(req); err == nil {
		t.Errorf("status = %s", res.Status)
	}
	// The guest may still be busy with the request that broke off; it tidies up in its own time.
	for {
		names, err := os.ReadDir(f.dir + "/work")
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 1 {
			break
		}
	}
	if got := f.read("work/file"); got != "before" {
		t.Errorf("file = %q", got)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestReadFileThatShrinks(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(nil))
	const size = 64 << 20 // more than any buffer on the way
	f.write("work/file", "x")
	if err := os.Truncate(f.dir+"/work/file", size); err != nil {
		t.Fatal(err)
	}
	res := f.do(t.Context(), http.MethodGet, files("file"), nil)
	if res.ContentLength != size {
		t.Fatalf("length = %d", res.ContentLength)
	}
	if err := os.Truncate(f.dir+"/work/file", 1); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Errorf("%d bytes came without an error", n)
	}
}

// unpacked is a tar as name, type and content.
func unpacked(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	all := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = strings.Join([]string{string(h.Typeflag), h.FileInfo().Mode().String(), h.Linkname, string(text), h.ModTime.UTC().Format(time.DateOnly)}, " ")
	}
}

func TestReadDir(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(nil))
	f.write("work/d/a", "A")
	f.write("work/d/sub/"+strings.Repeat("long", 40), "B")
	long := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := errors.Join(
		os.Symlink("/etc/passwd", f.dir+"/work/d/link"), syscall.Mkfifo(f.dir+"/work/d/fifo", 0o644),
		os.Chmod(f.dir+"/work/d/a", 0o755|os.ModeSetuid), os.Symlink("d", f.dir+"/work/way"),
		os.Chtimes(f.dir+"/work/d/a", long, long), os.Chtimes(f.dir+"/work/d/sub", long, long),
	); err != nil {
		t.Fatal(err)
	}
	today := time.Now().UTC().Format(time.DateOnly)
	want := map[string]string{
		"a":                                 "0 urwxr-xr-x  A 2020-02-03",
		"sub/":                              "5 drwxr-xr-x   2020-02-03",
		"sub/" + strings.Repeat("long", 40): "0 -rw-r--r--  B " + today,
		"link":                              "2 Lrwxrwxrwx /etc/passwd  " + today,
	}
	for _, path := range []string{"d", "way"} {
		res := f.do(t.Context(), http.MethodGet, files(path), nil)
		if diff := cmp.Diff(want, unpacked(t, res.Body)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		if got := res.Header.Get("Content-Type"); got != "application/x-tar" {
			t.Errorf("content type = %s", got)
		}
	}
}

func TestReadDirWhoseFileShrinks(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(nil))
	const size = 64 << 20
	f.write("work/d/file", "x")
	if err := os.Truncate(f.dir+"/work/d/file", size); err != nil {
		t.Fatal(err)
	}
	res := f.do(t.Context(), http.MethodGet, files("d"), nil)
	tr := tar.NewReader(res.Body)
	h, err := tr.Next()
	if err != nil || h.Size != size {
		t.Fatalf("%+v, %v", h, err)
	}
	if err := os.Truncate(f.dir+"/work/d/file", 1); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, tr); err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := tr.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("the tar goes on with %v", err)
	}
}

func TestDirThereAndBack(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(nil))
	f.write("work/d/a", strings.Repeat("A", 100_000))
	f.write("work/d/sub/b", "B")
	if err := errors.Join(os.Symlink("../..", f.dir+"/work/d/up"), os.Chmod(f.dir+"/work/d/sub", 0o700), os.Mkdir(f.dir+"/work/d/empty", 0o755)); err != nil {
		t.Fatal(err)
	}
	packed := f.send(http.MethodGet, files("d"), "", http.StatusOK)
	for range 2 { // the second time over the first
		f.send(http.MethodPut, files("e/f"), packed, http.StatusNoContent, "Content-Type", "application/x-tar; charset=binary")
		again := f.send(http.MethodGet, files("e/f"), "", http.StatusOK)
		if diff := cmp.Diff(unpacked(t, strings.NewReader(packed)), unpacked(t, strings.NewReader(again))); diff != "" {
			t.Error(diff)
		}
	}
}

// archive makes a tar.
func archive(t *testing.T, members ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, h := range members {
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(bytes.Repeat([]byte("x"), int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTarsThatAreRefused(t *testing.T) {
	t.Parallel()
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 3} }
	link := func(kind byte, name, target string) tar.Header {
		return tar.Header{Typeflag: kind, Name: name, Linkname: target}
	}
	tests := []struct {
		name    string
		members []tar.Header
		want    int
		text    string
	}{
		{"absolute", []tar.Header{file("/etc/x")}, 400, `"/etc/x"`},
		{"dots", []tar.Header{file("a/../../x")}, 400, `"a/../../x"`},
		{"dots alone", []tar.Header{file("..")}, 400, `".."`},
		{"through a link out", []tar.Header{link(tar.TypeSymlink, "l", "../out"), file("l/x")}, 400, `"l/x"`},
		{"through an absolute link", []tar.Header{link(tar.TypeSymlink, "l", "/"), file("l/tmp/x")}, 400, `"l/tmp/x"`},
		{"directory through a link", []tar.Header{link(tar.TypeSymlink, "l", "../out"), {Typeflag: tar.TypeDir, Name: "l/d"}}, 400, `"l/d"`},
		{"mode through a link", []tar.Header{link(tar.TypeSymlink, "l", "../out"), {Typeflag: tar.TypeDir, Name: "l", Mode: 0o777}}, 400, `"l"`},
		{"link in a link", []tar.Header{link(tar.TypeSymlink, "l", "../out"), link(tar.TypeSymlink, "l/m", "x")}, 400, `"l/m"`},
		{"hard link out", []tar.Header{link(tar.TypeLink, "h", "../out/secret")}, 400, `"h"`},
		{"hard link through a link", []tar.Header{link(tar.TypeSymlink, "l", "../out"), link(tar.TypeLink, "h", "l/secret")}, 400, `"h"`},
		{"hard link to nothing", []tar.Header{link(tar.TypeLink, "h", "nothing")}, 404, `"h"`},
		{"device", []tar.Header{{Typeflag: tar.TypeChar, Name: "c"}}, 400, `"c"`},
		{"named pipe", []tar.Header{{Typeflag: tar.TypeFifo, Name: "p"}}, 400, `"p"`},
		{"file over a directory", []tar.Header{{Typeflag: tar.TypeDir, Name: "d"}, file("d")}, 409, `"d"`},
		{"directory over a file", []tar.Header{file("f"), {Typeflag: tar.TypeDir, Name: "f"}}, 409, `"f"`},
		{"below a file", []tar.Header{file("f"), file("f/x")}, 409, `"f/x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := booted(t, newFakeHarness(nil))
			f.write("out/secret", "secret")
			got := f.send(http.MethodPut, files(f.dir+"/in"), string(archive(t, tt.members...)), tt.want, "Content-Type", "application/x-tar")
			if !strings.Contains(got, tt.text) {
				t.Errorf("answer = %s, want %s in it", got, tt.text)
			}
			names, err := os.ReadDir(f.dir + "/out")
			if err != nil || len(names) != 1 || f.read("out/secret") != "secret" || f.mode("out") != os.ModeDir|0o755 {
				t.Errorf("outside there is %v (%v), %v", names, f.mode("out"), err)
			}
		})
	}
	f := booted(t, newFakeHarness(nil))
	whole := archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: 2000})
	for _, body := range []string{"no tar", string(whole[:1000]), strings.Repeat("x", 2000)} {
		f.send(http.MethodPut, files("in"), body, http.StatusBadRequest, "Content-Type", "application/x-tar")
	}
}

func TestTarWithHolesIsRefused(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(nil))
	f.write("sparse", "x")
	if err := os.Truncate(f.dir+"/sparse", 1<<30); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "pax"} {
		packed, err := exec.Command("tar", "-C", f.dir, "--format="+format, "--sparse", "-c", "sparse").Output()
		if err != nil || len(packed) > 1<<20 {
			t.Skipf("tar packs no holes: %v, %d bytes", err, len(packed))
		}
		f.send(http.MethodPut, files("in"), string(packed), http.StatusBadRequest, "Content-Type", "application/x-tar")
	}
}

func TestTarReplacesLinks(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(nil))
	f.write("out/secret", "secret")
	f.write("in/old", "old")
	body := archive(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "../out/secret"},
		tar.Header{Typeflag: tar.TypeReg, Name: "./a", Size: 3, Mode: 0o4755},
		tar.Header{Typeflag: tar.TypeLink, Name: "b", Linkname: "./a"},
		tar.Header{Typeflag: tar.TypeLink, Name: "b", Linkname: "b"},
		tar.Header{Typeflag: tar.TypeReg, Name: "old", Size: 1},
	)
	f.send(http.MethodPut, files(f.dir+"/in"), string(body), http.StatusNoContent, "Content-Type", "application/x-tar")
	if f.read("out/secret") != "secret" || f.read("in/a") != "xxx" || f.read("in/b") != "xxx" || f.mode("in/a") != 0o755 || f.read("in/old") != "x" {
		t.Errorf("a is %v %q", f.mode("in/a"), f.read("in/a"))
	}
}
