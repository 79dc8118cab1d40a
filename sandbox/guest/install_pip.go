//go:build linux

package guest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
)

var errNoPip = errors.New("they need Python with pip, which the sandbox's image has not: choose a harness_image that has it")

// pip installs requirements with pip, or with uv where that is what there is.
func (in *installer) pip(ctx context.Context, text string) error {
	dir := in.guest.places.scratch
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	in.tell("requirements: looking for pip")
	// Not in the working tree: python -m takes modules from where it runs, and a logging.py
	// there would be pip's.
	base := step{dir: dir, errors: "ERROR:", env: []string{
		"PIP_BREAK_SYSTEM_PACKAGES=1", "PIP_ROOT_USER_ACTION=ignore", "UV_BREAK_SYSTEM_PACKAGES=1", "GIT_TERMINAL_PROMPT=0",
	}}
	name, args, err := in.findPip(ctx, base)
	if err != nil {
		return err
	}
	file, err := writeTemp(dir, text)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	in.tell("requirements: installing with " + name)
	err = in.run(ctx, base.with(append(args, "-r", file)...))
	if exit, failed := errors.AsType[*exitError](err); failed {
		return fmt.Errorf("%s ended with %w", name, exit)
	}
	return err
}

// findPip returns the name of what installs requirements and how it is called.
func (in *installer) findPip(ctx context.Context, base step) (name string, args []string, err error) {
	python := cmp.Or(in.env.find("python3", ""), in.env.find("python", ""))
	if python == "" {
		return "", nil, errNoPip
	}
	version := base.with(python, "-m", "pip", "--version")
	found, err := in.works(ctx, version)
	if uv := in.env.find("uv", ""); err == nil && !found && uv != "" {
		return "uv", []string{uv, "pip", "install", "--system"}, nil
	}
	if err == nil && !found {
		in.tell("requirements: installing pip")
		found, err = in.works(ctx, base.with(python, "-m", "ensurepip", "--user"), version)
	}
	if err == nil && !found {
		err = errNoPip
	}
	return "pip", []string{python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"}, err
}

// works runs steps and reports whether all succeed.
func (in *installer) works(ctx context.Context, steps ...step) (bool, error) {
	for _, s := range steps {
		err := in.run(ctx, s)
		if _, failed := errors.AsType[*exitError](err); failed {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// writeTemp writes a file that only its owner can read, and returns its path.
func writeTemp(dir, text string) (path string, err error) {
	f, err := os.CreateTemp(dir, "requirements-*.txt")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name()) // best effort
	}
	return f.Name(), err
}
