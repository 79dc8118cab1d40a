package docker

import (
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"lap/sandbox"
)

const (
	guestFolder = "/.lap"
	guestBinary = guestFolder + "/lap"
	guestUser   = "0:0"
)

// capabilities are what a package manager needs, and what the guest needs to lead all
// traffic to itself and to give that up before it runs anything; all others are dropped.
var capabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "NET_ADMIN", "SETPCAP"}

// containerConfig is the whole of what the engine is told about a sandbox. What it is
// told anyone can read with "docker inspect", so it holds no environment, no prompt
// and no file.
func (d *Docker) containerConfig(spec sandbox.Spec, g *guest) (*container.Config, *container.HostConfig) {
	conf := &container.Config{
		Image:      spec.Image,
		Entrypoint: []string{guestBinary, "guest"},
		User:       guestUser,
		WorkingDir: "/",
		Hostname:   "lap",
		Labels: map[string]string{
			labelOwner: d.cfg.Owner, labelSession: spec.Session, labelAgent: spec.Agent,
			labelGeneration: strconv.FormatInt(spec.Generation, 10),
		},
		NetworkDisabled: true,
		// The first pipe. With StdinOnce the guest sees its end when lap goes away.
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	pids := spec.Limits.PIDs
	none := false
	host := &container.HostConfig{
		Init:          &none, // also where the engine's default is one: the guest is, and an engine's would keep its capabilities
		Runtime:       d.cfg.OCIRuntime,
		NetworkMode:   "none",
		IpcMode:       container.IPCModePrivate,
		CapDrop:       []string{"ALL"},
		CapAdd:        capabilities,
		SecurityOpt:   []string{"no-new-privileges"},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
		Resources: container.Resources{
			NanoCPUs:   int64(min(spec.Limits.CPUs, float64(g.cpus)) * 1e9), // the engine refuses more than it has
			Memory:     spec.Limits.Memory,
			MemorySwap: spec.Limits.Memory, // memory and swap together
			PidsLimit:  &pids,
		},
		// A log would keep what crosses the first pipe, for anyone on the engine to read.
		LogConfig: container.LogConfig{Type: "none"},
		Mounts:    []mount.Mount{g.mount(true)},
	}
	return conf, host
}

func (g *guest) mount(readOnly bool) mount.Mount {
	return mount.Mount{
		Type: mount.TypeVolume, Source: g.volume, Target: guestFolder, ReadOnly: readOnly,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true},
	}
}
