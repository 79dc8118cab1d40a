package db

// A Hook stands around every commit. It lets a test see what is written, make it fail,
// or end the process at that very point.
type Hook interface {
	// Name names a write, on the goroutine that asks for it.
	Name() string
	// Commit is called with the names of the writes of one transaction, and with what
	// commits it. Its error is that of the commit.
	Commit(writes []string, commit func() error) error
}

// settle commits a batch, inside the hook when there is one.
func (b *batch) settle(commit func() error) error {
	if b.w.hook == nil {
		return commit()
	}
	var writes []string
	for _, j := range b.jobs {
		if !j.failed() {
			writes = append(writes, j.name)
		}
	}
	return b.w.hook.Commit(writes, commit)
}
