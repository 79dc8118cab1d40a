package mirror_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTreeIsAShallowClone(t *testing.T) {
	o := newOrigin(t)
	o.push("main", "a/b.txt", "text\n")
	h := o.serve("")
	m, _, _ := newMirrors(t)
	dir, commit := unpack(t, m, h.repo("main"))
	clean(t, dir)
	for _, tt := range []struct{ args, want string }{
		{"log --format=%H", commit},
		{"rev-parse HEAD", git(t, o.work, "rev-parse", "HEAD")},
		{"remote -v", "origin\t" + h.URL + "/o/r.git (fetch)\norigin\t" + h.URL + "/o/r.git (push)"},
		{"branch --show-current", "main"},
		{"rev-parse --abbrev-ref @{upstream}", "origin/main"},
		{"rev-parse --is-shallow-repository", "true"},
		{"fsck --strict", ""},
		{"stash list", ""},
		{"ls-files", "README.md\na/b.txt"},
	} {
		if got := git(t, dir, strings.Fields(tt.args)...); got != tt.want {
			t.Errorf("git %s = %q, want %q", tt.args, got, tt.want)
		}
	}
	// The agent's daily work goes on from there.
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "add", "new")
	git(t, dir, "commit", "--quiet", "--message=new")
	git(t, dir, "fetch", "--quiet")
	git(t, dir, "fetch", "--quiet", "--unshallow")
	clean(t, dir)
}

func TestTreeTellsNothingOfTheHost(t *testing.T) {
	o := newOrigin(t)
	h := o.serve(token)
	m, cache, _ := newMirrors(t)
	repo := h.repo("main")
	repo.Token = token
	dir, commit := unpack(t, m, repo)
	got := contents(t, filepath.Join(dir, ".git"))
	for path, text := range got {
		if strings.Contains(text, token) || strings.Contains(text, cache) || strings.Contains(text, o.root) {
			t.Errorf("%s tells of the host or the token", path)
		}
		if strings.HasPrefix(path, "/objects/pack/pack-") {
			delete(got, path)
		}
	}
	delete(got, "/index")
	want := map[string]string{
		"/HEAD":        "ref: refs/heads/main\n",
		"/config":      fmt.Sprintf(wantConfig, h.URL),
		"/packed-refs": commit + " refs/heads/main\n" + commit + " refs/remotes/origin/main\n",
		"/shallow":     commit + "\n",
	}
	if len(got) != len(want) {
		t.Errorf("files in .git: %v", got)
	}
	for path, text := range want {
		if got[path] != text {
			t.Errorf("%s = %q, want %q", path, got[path], text)
		}
	}
}

const wantConfig = `[core]
	repositoryformatversion = 0
	filemode = true
	bare = false
	logallrefupdates = true
[remote "origin"]
	url = "%s/o/r.git"
	fetch = "+refs/heads/main:refs/remotes/origin/main"
[branch "main"]
	remote = origin
	merge = "refs/heads/main"
`

// What a working tree can hold arrives as it is, and is written as git writes it.
func TestTreeKinds(t *testing.T) {
	o := newOrigin(t)
	long := strings.Repeat("long/", 40) + strings.Repeat("n", 200)
	files := map[string]string{
		"run.sh": "#!/bin/sh\n", "empty": "", "x.id": "$Id$\n", "spa ce/ü\n\"q\"": "x", "latin\xe9": "x", long: "deep\n",
		"dos.bat": "a\r\nb\r\n", "wide.txt": "\xff\xfea\x00\n\x00", "big.bin": strings.Repeat("\x00\x01", 1<<20),
		".gitattributes": "*.bat text eol=crlf\n*.id ident\nwide.txt text working-tree-encoding=UTF-16LE-BOM\n*.bin filter=lfs\n*.md export-ignore\n",
		".gitignore":     "*.log\n",
	}
	for name, text := range files {
		path := filepath.Join(o.work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{"link": "README.md", "out": "/etc/passwd", "up": "../../..", "gone": "nothing", "dirlink": "spa ce"}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(o.work, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(o.work, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	git(t, o.work, "update-index", "--add", "--cacheinfo", "160000,"+git(t, o.work, "rev-parse", "HEAD")+",sub")
	if err := os.Mkdir(filepath.Join(o.work, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	o.pushAll("main")
	m, _, _ := newMirrors(t)
	dir, _ := unpack(t, m, o.serve("").repo("main"))
	clean(t, dir)
	files["x.id"] = "$Id: " + git(t, o.work, "rev-parse", "HEAD:x.id") + " $\n"
	for name, text := range files {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != text {
			t.Errorf("%.40q = %.40q (%v), want %.40q", name, b, err, text)
		}
	}
	for name, target := range links {
		if got, err := os.Readlink(filepath.Join(dir, name)); err != nil || got != target {
			t.Errorf("link %s = %q (%v), want %q", name, got, err, target)
		}
	}
	for name, want := range map[string]os.FileMode{"run.sh": 0o755, "README.md": 0o644, "sub": 0o755 | os.ModeDir} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("mode of %s = %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
}

// A status that is clean at first still sees what is changed after it.
func TestTreeChangeIsSeen(t *testing.T) {
	o := newOrigin(t)
	m, _, _ := newMirrors(t)
	dir, _ := unpack(t, m, o.serve("").repo("main"))
	clean(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("first.\n")[:6], 0o644); err != nil { // same length
		t.Fatal(err)
	}
	if out := git(t, dir, "status", "--porcelain"); out != "M README.md" {
		t.Errorf("git status = %q, want the change", out)
	}
}

func TestTreeOfOddBranches(t *testing.T) {
	o := newOrigin(t)
	h := o.serve("")
	m, _, _ := newMirrors(t)
	for _, branch := range []string{"-x", "--upload-pack=true", "a/b/c", `quo"te`, "ünï", "refs/heads/x", "semi;#colon", "$(id)"} {
		t.Run(branch, func(t *testing.T) {
			o := &origin{t: t, root: o.root, work: o.work}
			want := o.push(branch, "file", branch)
			dir, commit := unpack(t, m, h.repo(branch))
			clean(t, dir)
			if commit != want {
				t.Errorf("commit = %s, want %s", commit, want)
			}
			if got := git(t, dir, "symbolic-ref", "HEAD"); got != "refs/heads/"+branch {
				t.Errorf("HEAD = %s", got)
			}
			if got := git(t, dir, "for-each-ref", "--format=%(upstream)", "refs/heads"); got != "refs/remotes/origin/"+branch {
				t.Errorf("upstream = %q", got)
			}
		})
	}
}

// A tree that tries to write elsewhere is refused.
func TestTreeHostile(t *testing.T) {
	o := newOrigin(t)
	blob := git(t, o.work, "hash-object", "-w", "README.md")
	for _, name := range []string{".git", "..", ".GIT", "git~1"} {
		t.Run(name, func(t *testing.T) {
			inner := mktree(t, o, "100755 blob "+blob+"\thooks")
			commit := git(t, o.work, "commit-tree", "-m", "bad", mktree(t, o, "040000 tree "+inner+"\t"+name))
			git(t, o.work, "push", "--quiet", "--force", "origin", commit+":refs/heads/bad")
			m, cache, _ := newMirrors(t)
			c, err := m.Prepare(t.Context(), o.serve("").repo("bad"), nil)
			if err == nil {
				c.Close()
				t.Fatal("prepared, want an error")
			}
			if !strings.Contains(err.Error(), "invalid path") {
				t.Errorf("error = %v, want one about the path", err)
			}
			for path := range contents(t, cache) {
				if strings.Contains(path, "hooks") {
					t.Errorf("%s was written", path)
				}
			}
		})
	}
}

func mktree(t *testing.T, o *origin, line string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "line")
	if err := os.WriteFile(path, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return git(t, o.work, "-c", "alias.mk=!git mktree < "+path, "mk")
}

// Two files of a link's name: nothing is written through it.
func TestTreeLinkAndDirectory(t *testing.T) {
	o := newOrigin(t)
	outside := t.TempDir()
	link := git(t, o.work, "-c", "alias.h=!printf %s "+outside+" | git hash-object -w --stdin", "h")
	blob := git(t, o.work, "hash-object", "-w", "README.md")
	inner := mktree(t, o, "100644 blob "+blob+"\tf")
	tree := mktree(t, o, "120000 blob "+link+"\ta\n040000 tree "+inner+"\ta")
	commit := git(t, o.work, "commit-tree", "-m", "bad", tree)
	git(t, o.work, "push", "--quiet", "--force", "origin", commit+":refs/heads/bad")
	m, _, _ := newMirrors(t)
	c, err := m.Prepare(t.Context(), o.serve("").repo("bad"), nil)
	if err == nil {
		defer c.Close()
		if _, err := untar(c, t.TempDir()); err != nil {
			t.Errorf("the tar does not unpack: %v", err)
		}
	}
	if found := contents(t, outside); len(found) > 0 {
		t.Errorf("written outside: %v", found)
	}
}
