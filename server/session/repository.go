package session

import (
	"context"
)

// repositories is a placeholder until mirrors are there.
func (b *bringUp) repositories(context.Context, map[string]string) error { return nil }
