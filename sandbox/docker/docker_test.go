package docker_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-cmp/cmp"

	"lap/sandbox"
	"lap/sandbox/docker"
)

func TestContainerConfigTellsNoMoreThanItMust(t *testing.T) {
	d := docker.New(docker.Config{Owner: "me"})
	spec := sandbox.Spec{Session: "s", Agent: "a", Generation: 3, Image: "i", Limits: sandbox.Limits{CPUs: 8, Memory: 1 << 30, PIDs: 9}}
	conf, host := docker.ContainerConfig(d, spec, 4)
	if len(conf.Env) > 0 || len(conf.Cmd) > 0 {
		t.Errorf("environment %v, command %v", conf.Env, conf.Cmd)
	}
	want := map[string]string{"dev.lap.owner": "me", "dev.lap.session": "s", "dev.lap.agent": "a", "dev.lap.generation": "3"}
	if diff := cmp.Diff(want, conf.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if host.NanoCPUs != 4e9 {
		t.Errorf("asks for %d billionths of a core on a machine with 4", host.NanoCPUs)
	}
	if host.Init == nil || *host.Init {
		t.Error("an engine's default could put another program in the guest's place")
	}
	added := []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "NET_ADMIN", "SETPCAP"}
	if diff := cmp.Diff(added, []string(host.CapAdd)); diff != "" || host.CapDrop[0] != "ALL" || host.SecurityOpt[0] != "no-new-privileges" {
		t.Errorf("capabilities (-want +got):\n%s", diff)
	}
	if spec.Name() != "lap-s-3" {
		t.Errorf("name = %s", spec.Name())
	}
}

// frame is a piece of output as the engine sends it: 1 is standard output, 2 error.
func frame(stream byte, text string) string {
	header := make([]byte, 8)
	header[0] = stream
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return string(header) + text
}

func TestStreamIsStandardOutput(t *testing.T) {
	sent := frame(1, "one ") + frame(2, "noise") + frame(1, "") + frame(1, "two")
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(sent), "byte by byte": iotest.OneByteReader(strings.NewReader(sent))} {
		got, err := io.ReadAll(docker.NewStream(r, nil))
		if string(got) != "one two" || err == nil || !strings.Contains(err.Error(), "noise") {
			t.Errorf("%s: read %q, error %v; want the end to quote standard error", name, got, err)
		}
	}
	if got, err := io.ReadAll(docker.NewStream(strings.NewReader(frame(1, "x")), nil)); string(got) != "x" || err != nil {
		t.Errorf("read %q, error %v", got, err)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(frame(1, "out") + frame(2, "err")))
	f.Add([]byte{1, 0, 0, 0, 255, 255, 255, 255, 'x'})
	f.Fuzz(func(t *testing.T, sent []byte) {
		got, _ := io.ReadAll(docker.NewStream(bytes.NewReader(sent), nil))
		if len(got) > len(sent) {
			t.Errorf("%d bytes came out of %d", len(got), len(sent))
		}
	})
}

func TestPullProgress(t *testing.T) {
	var seen []string
	err := docker.Follow(strings.NewReader(`
		{"status":"Pulling from library/debian","id":"bookworm-slim"}
		{"status":"Pulling fs layer","id":"a"}
		{"status":"Downloading","id":"a","progressDetail":{"current":10000000,"total":20000000}}
		{"status":"Already exists","id":"b"}
		{"status":"Pull complete","id":"a"}
		{"status":"Digest: sha256:0"}`), func(s string) { seen = append(seen, s) })
	want := []string{
		"0 of 1 layers, 0B of 0B", "0 of 1 layers, 10MB of 20MB", "1 of 2 layers, 10MB of 20MB", "2 of 2 layers, 20MB of 20MB",
	}
	if diff := cmp.Diff(want, seen); diff != "" || err != nil {
		t.Errorf("error %v, progress (-want +got):\n%s", err, diff)
	}
}

func TestPullThatFailsInItsStream(t *testing.T) {
	err := docker.Follow(strings.NewReader(`{"status":"Pulling"}{"errorDetail":{"message":"no space left"},"error":"no space left"}`), func(string) {})
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error = %v", err)
	}
	if err := docker.Follow(strings.NewReader(`{"status":`), func(string) {}); err == nil {
		t.Error("a stream that is cut is taken for success")
	}
}

func TestContextIsFollowedAsTheDockerCommandDoes(t *testing.T) {
	dir := configDir(t)
	t.Setenv("DOCKER_HOST", "")
	write(t, filepath.Join(dir, "config.json"), `{"currentContext":"far"}`)
	if _, err := docker.New(docker.Config{}).Ping(t.Context()); !errors.Is(err, sandbox.ErrUnavailable) || !strings.Contains(err.Error(), "far") {
		t.Errorf("a context that is not there: %v", err)
	}
	t.Setenv("DOCKER_HOST", "unix://"+dir+"/none.sock")
	if _, err := docker.New(docker.Config{}).Ping(t.Context()); !errors.Is(err, sandbox.ErrUnavailable) || !strings.Contains(err.Error(), "none.sock") {
		t.Errorf("DOCKER_HOST over context: %v", err)
	}
}

func TestContextWithEndpoint(t *testing.T) {
	dir := configDir(t)
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("DOCKER_CONTEXT", "near")
	meta, err := json.Marshal(map[string]any{"Name": "near", "Metadata": map[string]any{}, "Endpoints": map[string]any{"docker": map[string]any{"Host": "unix://" + dir + "/near.sock"}}})
	if err != nil {
		t.Fatal(err)
	}
	folder := fmt.Sprintf("%x", sha256.Sum256([]byte("near")))
	write(t, filepath.Join(dir, "contexts/meta", folder, "meta.json"), string(meta))
	if _, err := docker.New(docker.Config{}).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "near.sock") {
		t.Errorf("the context's endpoint is not used: %v", err)
	}
}

// configDir is an empty folder in place of ~/.docker. Setting DOCKER_CONFIG would come
// too late: its first value is kept for the life of the process.
func configDir(t *testing.T) string {
	t.Helper()
	dir, before := t.TempDir(), config.Dir()
	config.SetDir(dir)
	t.Cleanup(func() { config.SetDir(before) })
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
