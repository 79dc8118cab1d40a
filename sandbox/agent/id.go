//go:build unix

package agent

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Prefixes of ids, as on the opencode wire.
const (
	sessionID = "ses_"
	messageID = "msg_"
	partID    = "prt_"
	eventID   = "evt_"
)

// ids makes ids that sort by the time they were made. The zero value is ready.
type ids struct {
	last atomic.Int64
}

// next returns a new id: prefix, then time and order, then randomness that tells apart
// what two processes make.
func (i *ids) next(prefix string) string {
	now := time.Now().UnixMilli() << 10
	for {
		last := i.last.Load()
		id := max(now, last+1)
		if i.last.CompareAndSwap(last, id) {
			return fmt.Sprintf("%s%014x%012x", prefix, id, rand.Uint64()>>16)
		}
	}
}
