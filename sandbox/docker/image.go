package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/docker/go-units"

	"lap/sandbox"
)

// A PullPolicy says when an image is fetched from its registry.
type PullPolicy string

// The pull policies.
const (
	PullMissing PullPolicy = "missing"
	PullAlways  PullPolicy = "always"
	PullNever   PullPolicy = "never"
)

// Ensure makes image available on the engine as the pull policy says.
func (d *Docker) Ensure(ctx context.Context, name string, progress func(string)) error {
	if err := d.negotiate(ctx); err != nil {
		return err
	}
	if d.cfg.Pull != PullAlways {
		_, err := d.Image(ctx, name)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, sandbox.ErrNoImage):
			return err
		case d.cfg.Pull == PullNever:
			return fmt.Errorf("%w: LAP_PULL=never forbids fetching it: run \"docker pull %s\" or \"docker build\" first", err, name)
		}
	}
	progress("pulling " + name)
	if err := d.pull(ctx, name, progress); err != nil {
		return fmt.Errorf("image %s %w: %w", name, sandbox.ErrPull, err)
	}
	return nil
}

// Image looks an image up on the engine.
func (d *Docker) Image(ctx context.Context, name string) (sandbox.Image, error) {
	var found image.InspectResponse
	err := d.request(ctx, func(ctx context.Context) (err error) {
		found, err = d.engine.ImageInspect(ctx, name)
		return err
	})
	if errdefs.IsNotFound(err) {
		return sandbox.Image{}, fmt.Errorf("%w: %s is not on the engine", sandbox.ErrNoImage, name)
	} else if err != nil {
		return sandbox.Image{}, fmt.Errorf("image %s: %w", name, err)
	}
	return sandbox.Image{ID: found.ID, Size: found.Size}, nil
}

// pull fetches an image. Most images are public, so credentials that cannot be had
// matter only when it fails without them.
func (d *Docker) pull(ctx context.Context, name string, progress func(string)) error {
	auth, noAuth := registryAuth(name)
	err := d.pullAs(ctx, auth, name, progress)
	if err != nil && noAuth != nil {
		return fmt.Errorf("%w (pulled without credentials: %w)", err, noAuth)
	}
	return err
}

func (d *Docker) pullAs(ctx context.Context, auth, name string, progress func(string)) error {
	body, err := d.engine.ImagePull(ctx, name, image.PullOptions{RegistryAuth: auth})
	if err != nil {
		return d.explain(ctx, err)
	}
	defer body.Close()
	return follow(body, func(l layers) { progress("pulling " + name + ": " + l.String()) })
}

// follow reads the progress of a pull to its end. A pull that fails says so inside
// its stream.
func follow(stream io.Reader, progress func(layers)) error {
	seen := layers{}
	for dec := json.NewDecoder(stream); ; {
		var msg jsonmessage.JSONMessage
		if err := dec.Decode(&msg); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if msg.Error != nil {
			return msg.Error
		}
		if seen.note(msg) {
			progress(seen)
		}
	}
}

// layers is how far each layer of a pull has come.
type layers map[string]layer

type layer struct {
	done           bool
	current, total int64 // bytes
}

// note takes one message in and reports whether it told something about a layer.
func (l layers) note(msg jsonmessage.JSONMessage) bool {
	one := l[msg.ID]
	switch msg.Status {
	case "Pulling fs layer", "Waiting":
	case "Downloading":
		if msg.Progress != nil {
			one.current, one.total = msg.Progress.Current, msg.Progress.Total
		}
	case "Download complete", "Extracting":
		one.current = one.total
	case "Pull complete", "Already exists":
		one.current, one.done = one.total, true
	default:
		return false
	}
	l[msg.ID] = one
	return true
}

func (l layers) String() string {
	var done int
	var current, total int64
	for _, one := range l {
		if one.done {
			done++
		}
		current, total = current+one.current, total+one.total
	}
	return fmt.Sprintf("%d of %d layers, %s of %s", done, len(l), units.HumanSize(float64(current)), units.HumanSize(float64(total)))
}

// registryAuth is the credential that "docker login" stored for the image's registry.
func registryAuth(name string) (string, error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", err
	}
	domain := reference.Domain(ref)
	if domain == "docker.io" {
		domain = "https://index.docker.io/v1/" // the key under which docker login keeps it
	}
	auth, err := settings().GetAuthConfig(domain)
	if err != nil {
		return "", fmt.Errorf("credentials for %s: %w", domain, err)
	}
	return registry.EncodeAuthConfig(registry.AuthConfig(auth))
}
