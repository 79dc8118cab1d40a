//go:build linux

package native_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lap/sandbox/native"
)

// nobody is an ordinary user.
const nobody = 65534

// TestOrdinaryUser runs most tests as a user without privileges.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("all tests are of an ordinary user already")
	}
	guest(t)
	lap(t)
	dir := filepath.Join(tools, "nobody")
	if err := errors.Join(os.Mkdir(dir, 0o700), copyProgram(os.Args[0], filepath.Join(tools, "native.test"))); err != nil {
		t.Fatal(err)
	}
	cacheDir := filepath.Join(tools, fmt.Sprintf("cache-%d", nobody))
	if err := errors.Join(os.Mkdir(cacheDir, 0o700), os.Chown(cacheDir, nobody, nobody), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(tools, "native.test"), "-test.v", "-test.timeout=2m", "-test.skip=TestEscape|TestMemoryLimit|TestProcessLimit|TestBaseIsShared|TestAdvice")
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH"), toolsVar + "=" + tools, "LAP_TEST_REQUIRE_ALL=" + os.Getenv("LAP_TEST_REQUIRE_ALL")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP: TestLife ") {
		t.Skip("an ordinary user cannot have sandboxes here:\n" + string(out))
	}
	t.Logf("%s", out)
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&os.PathError{Op: "fork/exec", Path: "/lap", Err: unix.ENOSPC}, "max_user_namespaces"},
		{&os.PathError{Op: "fork/exec", Path: "/lap", Err: unix.EACCES}, "may not be run"},
		{&os.PathError{Op: "fork/exec", Path: "/lap", Err: unix.EPERM}, "--privileged"},
		{&os.PathError{Op: "fork/exec", Path: "/lap", Err: unix.EINVAL}, "kernel"},
		{errors.New("/proc: operation not permitted"), "systempaths=unconfined"},
		{errors.New("root: overlay on /usr: invalid argument"), "--data-dir"},
		{errors.New("devices: permission denied"), "security module"},
		{errors.New("limits: something else"), ""},
	} {
		if got := native.Advise(c.err); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%v: %q has no %q", c.err, got, c.want)
		}
	}
}
