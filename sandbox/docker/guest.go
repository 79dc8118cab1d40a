package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
)

// A guest is the lap binary on the engine: a volume named by the binary's hash, made
// once per build and shared by every sandbox, read-only.
type guest struct {
	volume string
	cpus   int // of the engine's machine
}

const (
	// doneMarker is copied into a guest volume last, so that an interrupted copy is
	// seen and made again.
	doneMarker = "complete"
	// volumeAge is how long a guest volume of another build is kept unused. Another
	// lap on the same engine may be about to use it.
	volumeAge = 24 * time.Hour
)

// ready returns the guest volume, making it on first use with the help of image.
func (d *Docker) ready(ctx context.Context, image string) (*guest, error) {
	if d.broken != nil {
		return nil, d.broken
	}
	if g := d.guest.Load(); g != nil {
		_, err := d.engine.VolumeInspect(ctx, g.volume)
		if err == nil || !errdefs.IsNotFound(err) {
			return g, d.explain(err)
		}
	}
	d.making.Lock()
	defer d.making.Unlock()
	if g := d.guest.Load(); g != nil { // made while this call waited
		if _, err := d.engine.VolumeInspect(ctx, g.volume); err == nil {
			return g, nil
		}
	}
	// Others may wait for what this call makes, and what it gave up would stay behind.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	g, err := d.makeGuest(ctx, image)
	if err != nil {
		return nil, err
	}
	d.guest.Store(g)
	return g, nil
}

// makeGuest puts this build's lap into its volume.
func (d *Docker) makeGuest(ctx context.Context, image string) (*guest, error) {
	info, err := d.engine.Info(ctx)
	if err != nil {
		return nil, d.explain(err)
	}
	path, err := d.binary(info.Architecture)
	if err != nil {
		return nil, err
	}
	hash, err := hashFile(path)
	if err != nil {
		return nil, err
	}
	g := &guest{volume: "lap-guest-" + hash[:16], cpus: info.NCPU}
	if err := d.fill(ctx, g, hash, path, image); err != nil {
		return nil, fmt.Errorf("put lap into a volume of the engine: %w", err)
	}
	return g, nil
}

// binary returns a lap binary that runs on a Linux engine of the given architecture,
// named as by uname.
func (d *Docker) binary(engineArch string) (string, error) {
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

// fill makes sure that the volume of g exists and is complete. The engine copies into
// a volume only through a container, which never runs.
func (d *Docker) fill(ctx context.Context, g *guest, hash, path, image string) (err error) {
	_, err = d.engine.VolumeCreate(ctx, volume.CreateOptions{Name: g.volume, Labels: map[string]string{labelGuest: hash}})
	if err != nil {
		return err
	}
	c, err := d.engine.ContainerCreate(ctx,
		&container.Config{Image: image, Entrypoint: []string{guestBinary}, NetworkDisabled: true, Labels: map[string]string{labelOwner: d.cfg.Owner}},
		&container.HostConfig{NetworkMode: "none", Mounts: []mount.Mount{g.mount(false)}}, nil, nil, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Remove(ctx, c.ID)) }()
	_, err = d.engine.ContainerStatPath(ctx, c.ID, guestFolder+"/"+doneMarker)
	if err == nil || !errdefs.IsNotFound(err) {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := d.put(ctx, c.ID, "lap", f, info.Size()); err != nil {
		return err
	}
	return d.put(ctx, c.ID, doneMarker, bytes.NewReader(nil), 0)
}

// put copies one executable file into the guest folder of a container.
func (d *Docker) put(ctx context.Context, id, name string, content io.Reader, size int64) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		t := tar.NewWriter(w)
		err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o555, Size: size, Typeflag: tar.TypeReg})
		if err == nil {
			_, err = io.Copy(t, content)
		}
		err = errors.Join(err, t.Close())
		w.CloseWithError(err)
		written <- err
	}()
	err := d.engine.CopyToContainer(ctx, id, guestFolder, r, container.CopyToContainerOptions{})
	r.CloseWithError(io.ErrClosedPipe)
	return errors.Join(err, <-written)
}

// Sweep removes guest volumes of other builds that nothing has used for a day.
func (d *Docker) Sweep(ctx context.Context) error {
	if d.broken != nil {
		return d.broken
	}
	list, err := d.engine.VolumeList(ctx, volume.ListOptions{
		Filters: filters.NewArgs(filters.Arg("label", labelGuest), filters.Arg("dangling", "true")),
	})
	if err != nil {
		return d.explain(err)
	}
	current := d.guest.Load()
	var errs []error
	for _, v := range list.Volumes {
		made, err := time.Parse(time.RFC3339, v.CreatedAt)
		if err != nil || time.Since(made) < volumeAge || current != nil && current.volume == v.Name {
			continue
		}
		if err := d.engine.VolumeRemove(ctx, v.Name, false); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
