// Package fault makes lap fail where it is told to, for tests: before or after a commit or
// a call of the runtime. Nothing of it is in the way of a server that is not told to be
// tested.
package fault

import "context"

// Orders say what happens at points, such as runtime.Create:before. They may be asked at
// once.
type Orders interface {
	// At is called as a point is passed; a commit of several writes has as many names. The
	// error is that of the call which the point belongs to. It may take its time, but not
	// longer than ctx lasts.
	At(ctx context.Context, names ...string) error
}

// All are several orders, the first before the others.
type All []Orders

// At implements Orders.
func (a All) At(ctx context.Context, names ...string) error {
	for _, o := range a {
		if err := o.At(ctx, names...); err != nil {
			return err
		}
	}
	return nil
}
