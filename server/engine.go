package server

import (
	"context"

	"lap/server/api"
	"lap/server/session"
)

// An engine is the session engine as the API wants it.
type engine struct{ *session.Engine }

// A controlled server is its engine as the fixture wants it, which is there before it.
type controlled Server

// CatchUp does at once what is done from time to time.
func (c *controlled) CatchUp(ctx context.Context) { c.engine.CatchUp(ctx) }

// Reset deletes all that was made.
func (c *controlled) Reset(ctx context.Context) error { return c.engine.Reset(ctx) }

// Begin accepts a user turn.
func (e engine) Begin(ctx context.Context, id string, t session.Turn) (api.Pending, error) {
	p, err := e.Engine.Begin(ctx, id, t)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Feed reads a session's event log.
func (e engine) Feed(ctx context.Context, id string, after int64) (api.Feed, error) {
	f, err := e.Engine.Feed(ctx, id, after)
	if err != nil {
		return nil, err
	}
	return f, nil
}
