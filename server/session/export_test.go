package session

// Waiting is how many turns of a session wait for the one that runs.
func Waiting(e *Engine, id string) int {
	l := e.find(id)
	if l == nil {
		return 0
	}
	l.turns.mu.Lock()
	defer l.turns.mu.Unlock()
	return len(l.turns.waiting)
}

// Reconcile compares rows and sandboxes once.
var Reconcile = (*Engine).reconcile
