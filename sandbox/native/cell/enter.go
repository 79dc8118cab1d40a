//go:build linux

package cell

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// A Cell is a sandbox that was entered.
type Cell struct {
	Pipes net.Listener // for further pipes
	Life  io.Reader    // ends when the sandbox has to; nil: it goes on without lap
}

// Enter turns this process, which package native has started, into the first one of a
// sandbox. What fails is told to who started it, and returned.
func Enter() (*Cell, error) {
	report := os.NewFile(reportFile, "report")
	c, err := enter()
	if err != nil {
		_, told := io.WriteString(report, err.Error())
		return nil, errors.Join(err, told, report.Close())
	}
	return c, report.Close()
}

func enter() (*Cell, error) {
	plan, err := readPlan()
	if err != nil {
		return nil, err
	}
	if err := closeOthers(plan.Tied); err != nil {
		return nil, err
	}
	opened, err := plan.open()
	if err != nil {
		return nil, err
	}
	steps := []struct {
		what string
		do   func(Plan) error
	}{
		{"keyring", newKeyring},
		{"user", becomeRoot},
		{"tie", tie},
		{"root", buildRoot},
		{"devices", mountDevices},
		{"/proc", mountProc},
		{"/sys", mountSys},
		{"lap", mountGuest},
		{"switch root", switchRoot},
		{"limits", setLimits},
		{"restrictions", restrict},
	}
	for _, s := range steps {
		if err := s.do(plan); err != nil {
			return nil, fmt.Errorf("%s: %w", s.what, err)
		}
	}
	opened.close()
	c := &Cell{}
	pipes := os.NewFile(pipesFile, "pipes")
	if c.Pipes, err = net.FileListener(pipes); err != nil {
		return nil, err
	}
	if plan.Tied {
		c.Life = os.NewFile(lifeFile, "life")
	}
	return c, pipes.Close()
}

// newKeyring leaves that of who started lap.
func newKeyring(Plan) error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) // without a name: a new one
	if errors.Is(err, unix.ENOSYS) {                                       // a kernel without keyrings
		return nil
	}
	return err
}
