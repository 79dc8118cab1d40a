package guest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// trimSelf gives back the pages of lap's own binary that only starting up has needed.
// They are clean and backed by the file: what is needed again is read in again.
func trimSelf() error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	var errs []error
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		// from-to permissions offset device inode path
		var from, to uintptr
		var permissions string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %4s", &from, &to, &permissions); err != nil {
			return err
		}
		if strings.HasSuffix(lines.Text(), " "+self) && !strings.Contains(permissions, "w") {
			if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED); errno != 0 {
				errs = append(errs, errno)
			}
		}
	}
	return errors.Join(errs...)
}
