package sandbox

import "strings"

// The runtimes.
const (
	Docker = "docker" // containers of a Docker engine
	Native = "native" // processes in namespaces of this machine's kernel, on Linux
)

// NativePrefix begins the ids of native sandboxes. Those of containers are hexadecimal.
const NativePrefix = "native-"

// RuntimeOf names the runtime of the sandbox with the given id.
func RuntimeOf(id string) string {
	if strings.HasPrefix(id, NativePrefix) {
		return Native
	}
	return Docker
}
