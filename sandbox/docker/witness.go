package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/pkg/stdcopy"
)

// What follows shows what the engine tells anyone about a container, for who looks for
// secrets there.

// OfAgent returns the ids of the containers of an agent's sandboxes, whoever made them.
func (d *Docker) OfAgent(ctx context.Context, agentID string) (ids []string, err error) {
	err = d.request(ctx, func(ctx context.Context) error {
		list, err := d.engine.ContainerList(ctx, container.ListOptions{
			All: true, Filters: filters.NewArgs(filters.Arg("label", labelAgent+"="+agentID)),
		})
		for _, c := range list {
			ids = append(ids, c.ID)
		}
		return err
	})
	return ids, err
}

// Raw returns what the engine says of a container as it says it.
func (d *Docker) Raw(ctx context.Context, id string) (text []byte, err error) {
	err = d.request(ctx, func(ctx context.Context) (err error) {
		_, text, err = d.engine.ContainerInspectWithRaw(ctx, id, true)
		return err
	})
	return text, err
}

// RawVolumes returns what the engine says of the volumes of a container.
func (d *Docker) RawVolumes(ctx context.Context, id string) (text []byte, err error) {
	c, err := d.look(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, m := range c.Mounts {
		if m.Name == "" {
			continue
		}
		err := d.request(ctx, func(ctx context.Context) error {
			_, raw, err := d.engine.VolumeInspectWithRaw(ctx, m.Name)
			text = append(text, raw...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return text, nil
}

// RawImage returns what the engine says of the image of a container, and how it was made.
func (d *Docker) RawImage(ctx context.Context, id string) ([]byte, error) {
	c, err := d.look(ctx, id)
	if err != nil {
		return nil, err
	}
	var text []byte
	err = d.request(ctx, func(ctx context.Context) error {
		image, err := d.engine.ImageInspect(ctx, c.Image)
		if err != nil {
			return err
		}
		history, err := d.engine.ImageHistory(ctx, c.Image)
		if err != nil {
			return err
		}
		text, err = json.Marshal([]any{image, history})
		return err
	})
	return text, err
}

// ErrNoLog says that the engine keeps no log of a container.
var ErrNoLog = errors.New("the engine keeps no log of it")

// Log returns what the engine has kept of a container's output.
func (d *Docker) Log(ctx context.Context, id string) ([]byte, error) {
	c, err := d.look(ctx, id)
	if err != nil {
		return nil, err
	}
	if c.HostConfig != nil && c.HostConfig.LogConfig.Type == "none" {
		return nil, ErrNoLog
	}
	var text bytes.Buffer
	err = d.request(ctx, func(ctx context.Context) error {
		r, err := d.engine.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = stdcopy.StdCopy(&text, &text, r)
		return err
	})
	return text.Bytes(), err
}

// Processes returns the processes of a container, each a list of columns with their titles.
func (d *Docker) Processes(ctx context.Context, id string) (titles []string, rows [][]string, err error) {
	err = d.request(ctx, func(ctx context.Context) error {
		top, err := d.engine.ContainerTop(ctx, id, nil)
		titles, rows = top.Titles, top.Processes
		return err
	})
	return titles, rows, err
}

// Export opens the whole file system of a container, without its volumes, as a tar
// archive. The caller closes it.
func (d *Docker) Export(ctx context.Context, id string) (io.ReadCloser, error) {
	if err := d.negotiate(ctx); err != nil {
		return nil, err
	}
	return d.engine.ContainerExport(ctx, id)
}

// GuestVolume opens the volume of a container that holds lap, as a tar archive. The
// caller closes it.
func (d *Docker) GuestVolume(ctx context.Context, id string) (io.ReadCloser, error) {
	if err := d.negotiate(ctx); err != nil {
		return nil, err
	}
	r, _, err := d.engine.CopyFromContainer(ctx, id, guestFolder)
	return r, err
}
