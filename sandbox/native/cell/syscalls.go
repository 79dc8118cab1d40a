//go:build linux

package cell

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/elastic/go-seccomp-bpf/arch"
	docker "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// SystemCalls returns the filter of system calls for Plan.Calls. It is made once, for that
// takes longer than most that a new sandbox needs.
var SystemCalls = sync.OnceValues(func() ([]byte, error) {
	machine, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("filter of system calls: %w", err)
	}
	filter, err := systemCalls(machine)
	if err != nil {
		return nil, fmt.Errorf("filter of system calls: %w", err)
	}
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return nil, fmt.Errorf("filter of system calls: %w", err)
	}
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return binary.Append(nil, binary.NativeEndian, program)
})

// systemCalls is the filter of a sandbox: those calls that Docker's default profile allows
// a container without capabilities, fewer kinds of sockets, and no way to type into a
// terminal or to limit another process. A call newer than what it knows fails as on an
// older kernel, so that programs do without.
func systemCalls(machine *arch.Info) ([]bpf.Instruction, error) {
	profile, err := docker.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
	if err != nil {
		return nil, err
	}
	if len(machine.SyscallNumbers) == 0 {
		return nil, fmt.Errorf("those of %s are not known", machine.Name)
	}
	r := rules{always: map[uint32]bool{}, sometimes: map[uint32]rule{}}
	for _, call := range profile.Syscalls {
		for _, name := range call.Names {
			number, known := machine.SyscallNames[name]
			if !known && name == "newfstatat" { // the table for ARM has it by its other name
				number, known = machine.SyscallNames["fstatat"]
			}
			if known {
				if err := r.add(uint32(number), call); err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	}
	for name, own := range ownRules() {
		if number, known := machine.SyscallNames[name]; known {
			delete(r.always, uint32(number))
			r.sometimes[uint32(number)] = own
		}
	}
	newest := slices.Max(slices.Collect(maps.Keys(machine.SyscallNumbers)))
	return r.compile(uint32(machine.ID), uint32(newest)), nil
}

// rules say which system calls are allowed, by number.
type rules struct {
	always    map[uint32]bool
	sometimes map[uint32]rule
}

// A rule allows a call whose arguments pass all tests of one of its sets.
type rule struct {
	allowed [][]test
	errno   unix.Errno // of all others
}

// A test is one of a half of an argument.
type test struct {
	offset uint32 // in struct seccomp_data
	must   bpf.JumpTest
	value  uint32
}

// argument is the offset of the lower half of an argument; the higher one is 4 bytes on.
func argument(n uint) uint32 { return 16 + 8*uint32(n) }

// equal tests for a value in all 64 bits.
func equal(arg uint, value uint64) []test {
	return []test{{argument(arg), bpf.JumpEqual, uint32(value)}, {argument(arg) + 4, bpf.JumpEqual, uint32(value >> 32)}}
}

// without tests that none of some bits is set.
func without(arg uint, bits uint64) []test {
	return []test{{argument(arg), bpf.JumpBitsNotSet, uint32(bits)}, {argument(arg) + 4, bpf.JumpBitsNotSet, uint32(bits >> 32)}}
}

// not tests that the lower half of an argument, which is all of an int, is no such value.
func not(arg uint, value uint32) []test {
	return []test{{argument(arg), bpf.JumpNotEqual, value}}
}

// add takes over what Docker's profile says of a call.
func (r *rules) add(number uint32, call specs.LinuxSyscall) error {
	switch {
	case call.Action == specs.ActErrno && call.ErrnoRet != nil && len(call.Args) == 0:
		r.sometimes[number] = rule{errno: unix.Errno(*call.ErrnoRet)}
		return nil
	case call.Action != specs.ActAllow:
		return fmt.Errorf("action %s", call.Action)
	case len(call.Args) == 0:
		r.always[number] = true
		return nil
	}
	var set []test
	for _, a := range call.Args {
		switch {
		case a.Op == specs.OpEqualTo:
			set = append(set, equal(a.Index, a.Value)...)
		case a.Op == specs.OpMaskedEqual && a.ValueTwo == 0:
			set = append(set, without(a.Index, a.Value)...)
		case a.Op == specs.OpLessThan: // of the families of sockets, about which lap has a rule
		default:
			return fmt.Errorf("condition %s", a.Op)
		}
	}
	known := r.sometimes[number]
	r.sometimes[number] = rule{allowed: append(known.allowed, set), errno: unix.EPERM}
	return nil
}

// ownRules are where lap allows less than Docker does.
func ownRules() map[string]rule {
	const pid, limit = 0, 2 // of prlimit64: the guest is the same user, and its limits are its own
	const request = 1       // of ioctl
	return map[string]rule{
		"modify_ldt": {errno: unix.ENOSYS}, // no program here runs 16-bit code
		"ioctl":      {allowed: [][]test{slices.Concat(not(request, unix.TIOCSTI), not(request, unix.TIOCLINUX))}, errno: unix.EPERM},
		"prlimit64":  {allowed: [][]test{equal(pid, 0), equal(limit, 0)}, errno: unix.EPERM},
		"socket":     {allowed: sockets(), errno: unix.EAFNOSUPPORT},
		"socketpair": {allowed: [][]test{equal(0, unix.AF_UNIX)}, errno: unix.EAFNOSUPPORT},
	}
}

// sockets are those that a sandbox may open. Others are parts of the kernel that few use
// and look at, or, as AF_VSOCK, are the same in all networks.
func sockets() [][]test {
	const family, kind, protocol = 0, 1, 2
	all := [][]test{equal(family, unix.AF_UNIX)}
	for _, f := range []uint64{unix.AF_INET, unix.AF_INET6} {
		for _, p := range []uint64{unix.IPPROTO_IP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6} {
			// streams, datagrams, and raw ones, which take a capability
			all = append(all, slices.Concat(equal(family, f), without(kind, 0xc), equal(protocol, p)))
		}
	}
	for _, p := range []uint64{unix.NETLINK_ROUTE, unix.NETLINK_SOCK_DIAG, unix.NETLINK_NETFILTER, unix.NETLINK_KOBJECT_UEVENT} {
		all = append(all, slices.Concat(equal(family, unix.AF_NETLINK), equal(protocol, p)))
	}
	return all
}

// compile makes a program of the rules. Calls of another architecture, as 32-bit programs
// make, are refused.
func (r *rules) compile(machine, newest uint32) []bpf.Instruction {
	allow := bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	fail := func(errno unix.Errno) bpf.Instruction {
		return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(errno)}
	}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 4}, // its architecture
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: machine, SkipTrue: 1},
		fail(unix.EPERM),
		bpf.LoadAbsolute{Off: 0, Size: 4}, // its number
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: newest, SkipFalse: 1},
		fail(unix.ENOSYS), // x32 calls are all above
	}
	for _, number := range slices.Sorted(maps.Keys(r.sometimes)) { // the kernel remembers those that are always allowed
		var block []bpf.Instruction
		for _, set := range r.sometimes[number].allowed {
			for i, t := range set {
				block = append(block,
					bpf.LoadAbsolute{Off: t.offset, Size: 4},
					bpf.JumpIf{Cond: t.must, Val: t.value, SkipFalse: uint8(2*(len(set)-i-1) + 1)}, // over the rest of its set
				)
			}
			block = append(block, allow)
		}
		block = append(block, fail(r.sometimes[number].errno))
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: number, SkipTrue: 1}, bpf.Jump{Skip: uint32(len(block))})
		program = append(program, block...)
	}
	numbers := slices.Sorted(maps.Keys(r.always))
	for from := 0; from < len(numbers); {
		to := from + 1
		for to < len(numbers) && numbers[to] == numbers[to-1]+1 {
			to++
		}
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: numbers[from], SkipFalse: 2},
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: numbers[to-1], SkipTrue: 1},
			allow,
		)
		from = to
	}
	return append(program, fail(unix.EPERM))
}
