//go:build linux

package guest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lap/sandbox"
)

var errClosing = errors.New("the sandbox is being stopped")

// install installs what the boot asks for: requirements with pip, then the working trees'
// setup commands. What was installed before, in the same files, is not installed again.
// The error is a sentence for the user, with the end of what was printed.
func (g *Guest) install(ctx context.Context, boot *sandbox.Boot, env environment, report func(sandbox.BootEvent)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g.work.Go(func() {
		select {
		case <-g.closing:
			cancel(errClosing)
		case <-ctx.Done():
		}
	})
	in := &installer{guest: g, env: env, report: report, installed: g.readInstalled()}
	if err := in.requirements(ctx, boot.Requirements); err != nil {
		return err
	}
	for _, s := range boot.Setup {
		if err := in.setup(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// An installer is one run of install.
type installer struct {
	guest     *Guest
	env       environment
	report    func(sandbox.BootEvent)
	installed installed
}

// tell reports what is being done, on one line.
func (in *installer) tell(detail string) {
	in.report(sandbox.BootEvent{Phase: "installing_deps", Detail: start(printable(detail), maxDetail)})
}

// requirements installs the text of a requirements file.
func (in *installer) requirements(ctx context.Context, text string) error {
	mark := digest(text)
	if strings.TrimSpace(text) == "" || in.installed.Requirements == mark {
		return nil
	}
	if err := in.pip(ctx, text); err != nil {
		return fmt.Errorf("requirements could not be installed: %w", err)
	}
	in.installed.Requirements = mark
	return in.guest.keepInstalled(in.installed)
}

// setup runs the setup command of a working tree.
func (in *installer) setup(ctx context.Context, s sandbox.Setup) error {
	mark := digest(s.Name, s.Dir, s.Command)
	if in.installed.Setup[mark] {
		return nil
	}
	subject := "setup_cmd of project " + s.Name
	if !isDir(s.Dir) { // the error of a process that cannot start there names its program only
		return fmt.Errorf("%s could not be run: there is no directory %s", subject, s.Dir)
	}
	in.tell(subject)
	err := in.run(ctx, step{
		dir: s.Dir, env: []string{"GIT_TERMINAL_PROMPT=0"},
		args: []string{in.env.find("sh", "/bin/sh"), "-c", s.Command},
	})
	if exit, failed := errors.AsType[*exitError](err); failed {
		return fmt.Errorf("%s failed with %w", subject, exit)
	}
	if err != nil {
		return fmt.Errorf("%s could not be run: %w", subject, err)
	}
	in.installed.Setup[mark] = true
	return in.guest.keepInstalled(in.installed)
}
