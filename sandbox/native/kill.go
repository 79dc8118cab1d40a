//go:build linux

package native

import "context"

// Kill ends all processes of a sandbox, as a crash does. Its files stay.
func (n *Native) Kill(ctx context.Context, id string) error {
	b, unlock, err := n.hold(ctx, id)
	if err != nil {
		return wrap("kill", id, err)
	}
	defer unlock()
	r, err := b.read()
	if err == nil && r.Run != nil {
		err = r.Run.kill(ctx)
	}
	if err != nil {
		return wrap("kill", id, err)
	}
	return nil
}
