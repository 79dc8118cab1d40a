//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// secrets looks for values, given in hexadecimal for they would be found where they are
// told, in all memory and files of the sandbox.
func secrets(args []string) []attack {
	var values [][]byte
	for _, a := range args {
		v, err := hex.DecodeString(a)
		if err != nil {
			panic(err)
		}
		values = append(values, v)
	}
	return []attack{
		{"memory of the guest", func() error { return memory(1, values) }},
		{"environments", func() error { return grep(values, "/proc/*/environ", "/proc/*/cmdline") }},
		{"lap's records", func() error { return grep(values, "/var/lib/lap/*", "/tmp/lap/*", "/tmp/*") }},
		{"home and settings", func() error { return walk(values, "/root", "/etc", "/work", "/var/lib/lap") }},
	}
}

func search(r io.Reader, where string, values [][]byte) error {
	buf, kept := make([]byte, 1<<20), 0
	for {
		n, err := r.Read(buf[kept:])
		for _, v := range values {
			if bytes.Contains(buf[:kept+n], v) {
				return fmt.Errorf("%s holds %d bytes of a value", where, len(v))
			}
		}
		if err != nil || n == 0 {
			return nil
		}
		tail := min(kept+n, 256)
		copy(buf, buf[kept+n-tail:kept+n])
		kept = tail
	}
}

// memory looks through all that a process has mapped.
func memory(pid int, values [][]byte) error {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil
	}
	defer mem.Close()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x rw", &from, &to); err != nil {
			continue
		}
		for at := from; at < to; at += 32 << 20 { // as much as is read at once may be missing
			if err := search(io.NewSectionReader(mem, at, min(to-at, 32<<20)), lines.Text(), values); err != nil {
				return err
			}
		}
	}
	return nil
}

func grep(values [][]byte, patterns ...string) error {
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := file(path, values); err != nil {
				return err
			}
		}
	}
	return nil
}

func file(path string, values [][]byte) error {
	if path == self() {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil // a process that has ended
	}
	defer f.Close()
	return search(f, path, values)
}

func walk(values [][]byte, roots ...string) error {
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, "/proc") {
				return nil // what cannot be read holds nothing
			}
			return file(path, values)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
