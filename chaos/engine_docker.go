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
	dockerclient "github.com/docker/docker/client"
)

// Labels of what lap makes on an engine.
const (
	labelOwner   = "dev.lap.owner"
	labelSession = "dev.lap.session"
)

// A dockerEngine runs sandboxes as containers.
type dockerEngine struct{ *dockerclient.Client }

// pingLimit is how long an engine may take to answer.
const pingLimit = 10 * time.Second

func newDockerEngine(ctx context.Context) (engine, error) {
	docker, err := dockerclient.NewClientWithOpts(dockerclient.FromEnv, dockerclient.WithAPIVersionNegotiation())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	if _, err := docker.Ping(ctx); err != nil {
		return nil, errors.Join(err, docker.Close())
	}
	return dockerEngine{docker}, nil
}

func (d dockerEngine) boxes(ctx context.Context, l *lap) ([]box, error) {
	list, err := d.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelOwner+"="+l.owner))})
	var all []box
	for _, c := range list {
		all = append(all, box{id: c.ID, session: c.Labels[labelSession], state: c.State})
	}
	return all, err
}

func (d dockerEngine) birth(ctx context.Context, _ *lap, id string) (string, error) {
	c, err := d.ContainerInspect(ctx, id)
	if err != nil {
		return "", err
	}
	return c.Created + c.State.StartedAt + c.State.Status, nil
}

func (d dockerEngine) kill(ctx context.Context, _ *lap, id string) error {
	return d.ContainerKill(ctx, id, "KILL")
}

// removeLimit is far more than a removal takes.
const removeLimit = time.Minute

func (d dockerEngine) remove(ctx context.Context, _ *lap, id string) error {
	ctx, cancel := context.WithTimeout(ctx, removeLimit)
	defer cancel()
	err := d.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // gone, or going
		return nil
	}
	return err
}

func (d dockerEngine) close(ctx context.Context, binary string) error {
	return errors.Join(d.removeVolume(ctx, binary), d.Close())
}

// removeVolume removes the volume that holds this run's binary.
func (d dockerEngine) removeVolume(ctx context.Context, binary string) error {
	b, err := os.ReadFile(binary)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	await(ctx, 5*time.Second, func() bool { // containers that are going still hold it
		err = d.VolumeRemove(ctx, "lap-guest-"+hex.EncodeToString(sum[:8]), true)
		return !errdefs.IsConflict(err)
	})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // another run of the same build uses it
		return nil
	}
	return err
}
