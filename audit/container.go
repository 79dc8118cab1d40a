package audit

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"lap/sandbox/docker"
)

// Places on the engine.
const (
	inspectPlace = "docker inspect of containers"
	volumePlace  = "docker inspect of volumes"
	imagePlace   = "docker inspect and history of images"
	dockerLogs   = "docker logs"
	topPlace     = "docker top: command lines in sandboxes"
	exportPlace  = "docker export: file systems of sandboxes"
	guestPlace   = "volume with lap in sandboxes"
)

// An inspector looks at containers through the engine.
type inspector struct {
	*docker.Docker
	ledger *ledger
}

// sandbox looks at all that the engine tells of a container but its files.
func (i inspector) sandbox(ctx context.Context, id string) error {
	for _, look := range []struct {
		place string
		raw   func(context.Context, string) ([]byte, error)
	}{
		{inspectPlace, i.Raw},
		{volumePlace, i.RawVolumes},
		{imagePlace, i.RawImage},
		{dockerLogs, i.Log},
	} {
		text, err := look.raw(ctx, id)
		switch {
		case errors.Is(err, docker.ErrNoLog):
			i.ledger.note(look.place, "none is kept")
		case err != nil:
			return err
		default:
			i.ledger.lookAt(look.place, text)
		}
	}
	return i.processes(ctx, id)
}

// processes looks at the command lines of a container's processes, and at their memory if
// this process may.
func (i inspector) processes(ctx context.Context, id string) error {
	titles, rows, err := i.Processes(ctx, id)
	if err != nil {
		return err
	}
	column, command := slices.Index(titles, "PID"), slices.Index(titles, "CMD")
	for _, row := range rows {
		i.ledger.lookAt(topPlace, []byte(strings.Join(row, " ")))
		if column < 0 || command < 0 {
			continue
		}
		pid, err := strconv.Atoi(row[column])
		if err == nil && isRunning(pid, row[command]) {
			err = i.ledger.lookAtMemory(pid)
		}
		if err != nil {
			i.ledger.note(memoryPlace, "not all of it can be read from here: run the audit as root on the engine's machine")
		}
	}
	return nil
}

// isRunning reports whether a process of this machine runs a command: the engine may be on
// another one.
func isRunning(pid int, command string) bool {
	argv, err := os.ReadFile(procFile(pid, "cmdline"))
	return err == nil && strings.TrimSpace(strings.ReplaceAll(string(argv), "\x00", " ")) == strings.TrimSpace(command)
}

// files looks at the whole file system of a container, and returns what was found there.
func (i inspector) files(ctx context.Context, id string) ([]string, error) {
	return i.archive(ctx, exportPlace, id, i.Export)
}

// shared looks at the volume of a container.
func (i inspector) shared(ctx context.Context, id string) error {
	_, err := i.archive(ctx, guestPlace, id, i.GuestVolume)
	return err
}

func (i inspector) archive(ctx context.Context, place, id string, open func(context.Context, string) (io.ReadCloser, error)) ([]string, error) {
	r, err := open(ctx, id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return i.ledger.look(place, r)
}

func (i inspector) search() string { return searchAll }

// remove removes what is left of the sandboxes of some agents.
func (i inspector) remove(ctx context.Context, agents []string) error {
	var errs []error
	for _, id := range agents {
		left, err := i.OfAgent(ctx, id)
		errs = append(errs, err)
		for _, box := range left {
			errs = append(errs, i.Remove(ctx, box))
		}
	}
	return errors.Join(errs...)
}
