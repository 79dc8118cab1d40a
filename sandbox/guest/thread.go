//go:build linux

package guest

import (
	"runtime"
	"sync"
)

// spareThreads is how many threads the guest makes before it runs anything. The Go
// runtime ends the process when it needs a thread and the sandbox's limit of processes
// and threads is reached, which any command can do; it never gives a thread back.
const spareThreads = 16

// reserveThreads makes spareThreads threads for later use.
func reserveThreads() {
	var ready, done sync.WaitGroup
	ready.Add(spareThreads)
	for range spareThreads {
		done.Go(func() {
			runtime.LockOSThread() // so that no two share a thread
			defer runtime.UnlockOSThread()
			ready.Done()
			ready.Wait()
		})
	}
	done.Wait()
}
