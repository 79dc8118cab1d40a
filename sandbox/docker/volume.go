package docker

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
)

// volumeAge is how old a guest volume of another build must be to be swept. Another
// lap on the same engine may be about to use a younger one.
const volumeAge = 24 * time.Hour

// fill makes sure that the volume of g exists and is complete. The engine copies into
// a volume only through a container, which never runs.
func (d *Docker) fill(ctx context.Context, g *guest, hash, file, image string) (err error) {
	err = d.request(ctx, func(ctx context.Context) error {
		_, err := d.engine.VolumeCreate(ctx, volume.CreateOptions{Name: g.volume, Labels: map[string]string{labelGuest: hash}})
		return err
	})
	if err != nil {
		return err
	}
	id, err := d.create(ctx,
		&container.Config{Image: image, Entrypoint: []string{guestBinary}, NetworkDisabled: true, Labels: map[string]string{labelOwner: d.cfg.Owner}},
		&container.HostConfig{NetworkMode: "none", Mounts: []mount.Mount{g.mount(false)}}, d.helper+rand.Text())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.discard(ctx, id)) }()
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if complete, err := d.holds(ctx, id, info.Size()); complete || err != nil {
		return err
	}
	return d.call(ctx, copyTimeout, func(ctx context.Context) error { return d.put(ctx, id, f, info.Size()) })
}

// discard removes a container, after the caller has gone when ctx ended.
func (d *Docker) discard(ctx context.Context, id string) error {
	if ctx.Err() == nil {
		return d.Remove(ctx, id)
	}
	d.late.Go(func() {
		if err := d.Remove(ctx, id); err != nil {
			d.leftBehind(ctx, id, err)
		}
	})
	return nil
}

// holds reports whether lap is in the guest folder of a container with all its bytes;
// the copy of an interrupted call has fewer.
func (d *Docker) holds(ctx context.Context, id string, size int64) (bool, error) {
	var stat container.PathStat
	err := d.request(ctx, func(ctx context.Context) (err error) {
		stat, err = d.engine.ContainerStatPath(ctx, id, guestBinary)
		return err
	})
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil && stat.Size == size, err
}

// put copies lap into the guest folder of a container.
func (d *Docker) put(ctx context.Context, id string, content io.Reader, size int64) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		t := tar.NewWriter(w)
		err := t.WriteHeader(&tar.Header{Name: path.Base(guestBinary), Mode: 0o555, Size: size, Typeflag: tar.TypeReg})
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

// Sweep removes what copying lap left: containers of an earlier process that came to its
// end meanwhile, and guest volumes of other builds that were made more than a day ago and
// that no container uses now. It is for the only process of its installation.
func (d *Docker) Sweep(ctx context.Context) error {
	return errors.Join(d.sweepHelpers(ctx), d.sweepVolumes(ctx))
}

func (d *Docker) sweepHelpers(ctx context.Context) error {
	list, err := d.List(ctx)
	errs := []error{err}
	for _, c := range list {
		if c.Session == "" && c.Name != "" && !strings.HasPrefix(c.Name, d.helper) {
			errs = append(errs, d.Remove(ctx, c.ID))
		}
	}
	return errors.Join(errs...)
}

func (d *Docker) sweepVolumes(ctx context.Context) error {
	var list volume.ListResponse
	err := d.request(ctx, func(ctx context.Context) (err error) {
		list, err = d.engine.VolumeList(ctx, volume.ListOptions{
			Filters: filters.NewArgs(filters.Arg("label", labelGuest), filters.Arg("dangling", "true")),
		})
		return err
	})
	if err != nil {
		return err
	}
	current := d.guest.Load()
	var errs []error
	for _, v := range list.Volumes {
		made, err := time.Parse(time.RFC3339, v.CreatedAt)
		if err != nil || time.Since(made) < volumeAge || current != nil && current.volume == v.Name {
			continue
		}
		err = d.request(ctx, func(ctx context.Context) error { return d.engine.VolumeRemove(ctx, v.Name, false) })
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
