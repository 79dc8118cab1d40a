package docker

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/system"
)

// A guest is the lap binary on the engine: a volume named by the binary's hash, made
// once per build and shared by every sandbox, read-only.
type guest struct {
	volume string
	cpus   int // of the engine's machine
}

// Build is the name of the guest volume, which holds the hash of the lap binary inside.
func (d *Docker) Build(ctx context.Context) (string, error) {
	if g := d.guest.Load(); g != nil {
		return g.volume, nil
	}
	if name := d.build.Load(); name != nil {
		return *name, nil
	}
	info, err := d.info(ctx)
	if err != nil {
		return "", err
	}
	_, hash, err := d.binary(info.Architecture)
	if err != nil {
		return "", err
	}
	name := volumeName(hash)
	d.build.Store(&name)
	return name, nil
}

func volumeName(hash string) string { return "lap-guest-" + hash[:16] }

// info asks the engine about its machine.
func (d *Docker) info(ctx context.Context) (info system.Info, err error) {
	err = d.request(ctx, func(ctx context.Context) (err error) {
		info, err = d.engine.Info(ctx)
		return err
	})
	return info, err
}

// ready returns the guest volume, making it on first use with the help of image.
func (d *Docker) ready(ctx context.Context, image string) (*guest, error) {
	if g, err := d.current(ctx); g != nil || err != nil {
		return g, err
	}
	// Before the wait, so that all who wait for an engine that hangs learn it at once.
	info, err := d.info(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case d.making <- struct{}{}:
		defer func() { <-d.making }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if g, err := d.current(ctx); g != nil || err != nil { // made while this call waited
		return g, err
	}
	g, err := d.makeGuest(ctx, info, image)
	if err != nil {
		return nil, err
	}
	d.guest.Store(g)
	return g, nil
}

// current returns the guest that was made before, nil when there is none or its volume
// was removed.
func (d *Docker) current(ctx context.Context) (*guest, error) {
	g := d.guest.Load()
	if g == nil {
		return nil, nil
	}
	err := d.request(ctx, func(ctx context.Context) error {
		_, err := d.engine.VolumeInspect(ctx, g.volume)
		return err
	})
	if errdefs.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return g, nil
}

// makeGuest puts this build's lap into its volume.
func (d *Docker) makeGuest(ctx context.Context, info system.Info, image string) (*guest, error) {
	path, hash, err := d.binary(info.Architecture)
	if err != nil {
		return nil, err
	}
	g := &guest{volume: volumeName(hash), cpus: info.NCPU}
	if err := d.fill(ctx, g, hash, path, image); err != nil {
		return nil, fmt.Errorf("put lap into a volume of the engine: %w", err)
	}
	return g, nil
}

// binary returns a lap binary that runs on a Linux engine of the given architecture,
// named as by uname, and its hash.
func (d *Docker) binary(engineArch string) (path, hash string, err error) {
	if path, err = d.findBinary(engineArch); err == nil {
		hash, err = hashFile(path)
	}
	return path, hash, err
}

func (d *Docker) findBinary(engineArch string) (string, error) {
	arch := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[engineArch]
	if arch == "" {
		arch = engineArch
	}
	path := d.cfg.Guest
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return "", err
		}
		if runtime.GOOS != "linux" || runtime.GOARCH != arch {
			path = filepath.Join(filepath.Dir(path), "lap-linux-"+arch)
		}
	}
	file, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("sandboxes need a lap built for linux/%s at %s: %w: put it there", arch, path, err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s is dynamically linked and cannot run in every image: build lap with CGO_ENABLED=0", path)
		}
	}
	return path, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
