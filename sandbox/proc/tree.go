//go:build unix

package proc

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// killLimit bounds how long KillTree chases a tree that keeps forking.
const killLimit = 2 * time.Second

// process is a row of the process table.
type process struct {
	pid, parent, group int
	zombie             bool
}

// list reads the process table of this PID namespace; it is empty where there is no /proc.
func list() []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := read(pid); ok {
			all = append(all, p)
		}
	}
	return all
}

// read parses /proc/<pid>/stat: "pid (comm) state ppid pgrp ...", where comm may hold
// blanks and parentheses of its own.
func read(pid int) (process, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false // it has just gone
	}
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return process{}, false
	}
	f := strings.Fields(string(stat[end+1:]))
	if len(f) < 3 {
		return process{}, false
	}
	parent, err1 := strconv.Atoi(f[1])
	group, err2 := strconv.Atoi(f[2])
	return process{pid: pid, parent: parent, group: group, zombie: f[0] == "Z"}, err1 == nil && err2 == nil
}

// KillTree kills the process group led by leader, every descendant of it, and every
// process that left both but was started with mark, a "KEY=value" entry, in its
// environment. It returns when all are gone, or after two seconds.
func KillTree(leader int, mark string) {
	deadline := time.Now().Add(killLimit)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		_ = syscall.Kill(-leader, syscall.SIGKILL) // an error means that the group is gone
		victims := tree(leader, mark)
		for _, pid := range victims {
			_ = syscall.Kill(pid, syscall.SIGKILL) // likewise
		}
		if len(victims) == 0 || time.Now().After(deadline) {
			return
		}
		time.Sleep(wait)
	}
}

// tree returns the living processes that KillTree is to end.
func tree(leader int, mark string) []int {
	all := list()
	doomed := map[int]bool{leader: true}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if !doomed[p.pid] && (doomed[p.parent] || p.group == leader) {
				doomed[p.pid], grown = true, true
			}
		}
	}
	var pids []int
	for _, p := range all {
		if !p.zombie && p.pid != os.Getpid() && (doomed[p.pid] || marked(p.pid, mark)) {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

func marked(pid int, mark string) bool {
	if mark == "" {
		return false
	}
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if string(entry) == mark {
			return true
		}
	}
	return false
}
