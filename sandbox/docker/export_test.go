package docker

import (
	"bufio"
	"io"
	"net"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"

	"lap/sandbox"
)

// ContainerConfig is what the engine is told about a sandbox on a machine with cpus cores.
func ContainerConfig(d *Docker, spec sandbox.Spec, cpus int) (*container.Config, *container.HostConfig) {
	return d.containerConfig(spec, &guest{volume: "v", cpus: cpus})
}

// NewStream reads the frames of an attached process from r.
func NewStream(r io.Reader, conn net.Conn) io.ReadWriteCloser {
	return newStream(types.HijackedResponse{Conn: conn, Reader: bufio.NewReader(r)}, func() {})
}

// Follow reads the progress of a pull.
func Follow(r io.Reader, progress func(string)) error {
	return follow(r, func(l layers) { progress(l.String()) })
}

// ExecsAtOnce is how many execs start at once.
const ExecsAtOnce = execsAtOnce

// SetCallTimeout limits small engine calls.
func SetCallTimeout(d *Docker, limit time.Duration) { d.small = limit }
