package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

// Labels of what lap makes on an engine.
const (
	labelOwner   = "dev.lap.owner"
	labelSession = "dev.lap.session"
)

// A box is a container of an installation.
type box struct {
	id, session, state string
}

// boxes returns all containers of an installation, running or not.
func (w *world) boxes(ctx context.Context, owner string) ([]box, error) {
	list, err := w.engine.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelOwner+"="+owner))})
	var all []box
	for _, c := range list {
		all = append(all, box{id: c.ID, session: c.Labels[labelSession], state: c.State})
	}
	return all, err
}

// removeBoxes removes all containers of an installation.
func (w *world) removeBoxes(ctx context.Context, owner string) error {
	if owner == "" { // it was never started
		return nil
	}
	list, err := w.boxes(ctx, owner)
	errs := []error{err}
	for _, b := range list {
		errs = append(errs, w.removeBox(ctx, b.id))
	}
	return errors.Join(errs...)
}

// removeLimit is far more than a removal takes.
const removeLimit = time.Minute

func (w *world) removeBox(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, removeLimit)
	defer cancel()
	err := w.engine.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // gone, or going
		return nil
	}
	return err
}

// removeVolume removes the volume that holds this run's binary.
func (w *world) removeVolume(ctx context.Context) error {
	b, err := os.ReadFile(w.binary)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	await(ctx, 5*time.Second, func() bool { // containers that are going still hold it
		err = w.engine.VolumeRemove(ctx, "lap-guest-"+hex.EncodeToString(sum[:8]), true)
		return !errdefs.IsConflict(err)
	})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // another run of the same build uses it
		return nil
	}
	return err
}
