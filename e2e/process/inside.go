package process

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Below returns the processes of this machine whose standard error is a file below dir, as
// far as this user can see them, and that file. The first process of a native sandbox has its log in the
// sandbox's folder, and all others of the sandbox end with it.
func Below(dir string) (map[int]string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/fd/2")
	all := map[int]string{}
	for _, path := range files {
		file, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(file, dir+"/") { // it is another user's, or gone
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil {
			all[pid] = file
		}
	}
	return all, err
}
