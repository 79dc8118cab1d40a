//go:build linux

package cell_test

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"lap/sandbox/native/cell"
)

const (
	allowed = uint32(unix.SECCOMP_RET_ALLOW)
	refused = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EPERM)
	unknown = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)
	family  = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EAFNOSUPPORT)
)

func TestSystemCalls(t *testing.T) {
	machine, err := arch.GetInfo(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	vm := filterOf(t, machine)
	const high = 1 << 32
	for _, tt := range []struct {
		name string
		call string
		args []uint64
		want uint32
	}{
		{"read", "read", nil, allowed},
		{"the last of the list", "writev", nil, allowed},
		{"mount", "mount", nil, refused},
		{"unshare", "unshare", nil, refused},
		{"setns", "setns", nil, refused},
		{"chroot", "chroot", nil, refused},
		{"bpf", "bpf", nil, refused},
		{"keyctl", "keyctl", nil, refused},
		{"io_uring", "io_uring_setup", nil, refused},
		{"ptrace", "ptrace", nil, allowed},
		{"clone3", "clone3", nil, unknown},
		{"a process", "clone", []uint64{uint64(unix.SIGCHLD)}, allowed},
		{"a thread", "clone", []uint64{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND}, allowed},
		{"a user namespace", "clone", []uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, refused},
		{"a network", "clone", []uint64{unix.CLONE_NEWNET}, refused},
		{"a terminal's settings", "ioctl", []uint64{0, unix.TCGETS}, allowed},
		{"a request with its highest bit", "ioctl", []uint64{0, 0x80045430}, allowed},
		{"the same, signed", "ioctl", []uint64{0, 0xffffffff80045430}, allowed},
		{"TIOCSTI", "ioctl", []uint64{0, unix.TIOCSTI}, refused},
		{"TIOCSTI, high bit", "ioctl", []uint64{0, unix.TIOCSTI | high}, refused},
		{"TIOCSTI, all high bits", "ioctl", []uint64{0, unix.TIOCSTI | 0xffffffff00000000}, refused},
		{"TIOCLINUX", "ioctl", []uint64{0, unix.TIOCLINUX}, refused},
		{"UNIX", "socket", []uint64{unix.AF_UNIX, unix.SOCK_STREAM}, allowed},
		{"TCP", "socket", []uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK, unix.IPPROTO_TCP}, allowed},
		{"UDP over IPv6", "socket", []uint64{unix.AF_INET6, unix.SOCK_DGRAM}, allowed},
		{"SCTP", "socket", []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, family},
		{"SOCK_SEQPACKET", "socket", []uint64{unix.AF_INET, unix.SOCK_SEQPACKET}, family},
		{"SOCK_PACKET", "socket", []uint64{unix.AF_INET, 10}, family},
		{"routes", "socket", []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, allowed},
		{"audit", "socket", []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, family},
		{"vsock", "socket", []uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, family},
		{"alg", "socket", []uint64{unix.AF_ALG, unix.SOCK_SEQPACKET}, family},
		{"packet", "socket", []uint64{unix.AF_PACKET, unix.SOCK_RAW}, family},
		{"a pair", "socketpair", []uint64{unix.AF_UNIX, unix.SOCK_STREAM}, allowed},
		{"a pair of TIPC", "socketpair", []uint64{unix.AF_TIPC, unix.SOCK_STREAM}, family},
		{"own limits", "prlimit64", []uint64{0, 7, 1}, allowed},
		{"another's limits", "prlimit64", []uint64{1, 7, 0}, allowed},
		{"limit another", "prlimit64", []uint64{1, 7, 1}, refused},
		{"16-bit code", "modify_ldt", nil, unknown},
		{"personality", "personality", []uint64{0}, allowed},
		{"personality without randomisation", "personality", []uint64{0x40000}, refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			number, ok := machine.SyscallNames[tt.call]
			if !ok {
				t.Skipf("no system call %s here", tt.call)
			}
			if got := ask(t, vm, number, uint32(machine.ID), tt.args); got != tt.want {
				t.Errorf("the filter says %#x, want %#x", got, tt.want)
			}
		})
	}
	if got := ask(t, vm, 20, uint32(arch.I386.ID), nil); got != refused {
		t.Errorf("a 32-bit call: %#x", got)
	}
	if got := ask(t, vm, 0x40000000, uint32(machine.ID), nil); got != unknown {
		t.Errorf("an x32 call: %#x", got)
	}
	if got := ask(t, vm, 900, uint32(machine.ID), nil); got != unknown {
		t.Errorf("a call of the future: %#x", got)
	}
}

// The tables of other machines have what every program needs, too.
func TestSystemCallsOfARM(t *testing.T) {
	vm := filterOf(t, arch.AARCH64)
	for _, name := range []string{"read", "openat", "fstatat", "statx", "mmap", "clone", "execve", "rt_sigreturn", "futex", "ppoll", "socket", "ioctl", "exit_group"} {
		number, ok := arch.AARCH64.SyscallNames[name]
		if got := ask(t, vm, number, uint32(arch.AARCH64.ID), []uint64{unix.AF_UNIX}); !ok || got != allowed {
			t.Errorf("%s: %#x", name, got)
		}
	}
	for _, name := range []string{"mount", "unshare", "setns", "bpf", "keyctl", "open_by_handle_at"} {
		if got := ask(t, vm, arch.AARCH64.SyscallNames[name], uint32(arch.AARCH64.ID), nil); got != refused {
			t.Errorf("%s: %#x", name, got)
		}
	}
}

func filterOf(t *testing.T, machine *arch.Info) *bpf.VM {
	t.Helper()
	filter, err := cell.Filter(machine)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(filter)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// ask runs the filter on a struct seccomp_data, whose numbers the machine here takes as big
// ones first.
func ask(t *testing.T, vm *bpf.VM, number int, architecture uint32, args []uint64) uint32 {
	t.Helper()
	data := binary.BigEndian.AppendUint32(nil, uint32(number))
	data = binary.BigEndian.AppendUint32(data, architecture)
	data = append(data, make([]byte, 8)...)
	for i := range 6 {
		arg := uint64(0)
		if i < len(args) {
			arg = args[i]
		}
		data = binary.BigEndian.AppendUint32(data, uint32(arg)) // its lower half is before the other
		data = binary.BigEndian.AppendUint32(data, uint32(arg>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}
