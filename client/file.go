package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
)

// tarType is the media type of a directory.
const tarType = "application/x-tar"

func filesPath(sessionID, path string) string {
	return sessionPath(sessionID) + "/files?path=" + url.QueryEscape(path)
}

// ReadFile opens a file of a session's sandbox, or a directory as a tar archive. The
// caller closes it.
func (c *Client) ReadFile(ctx context.Context, sessionID, path string) (io.ReadCloser, error) {
	return c.open(ctx, filesPath(sessionID, path))
}

// Diff opens the changes in a session's working tree. The caller closes it.
func (c *Client) Diff(ctx context.Context, sessionID string) (io.ReadCloser, error) {
	return c.open(ctx, sessionPath(sessionID)+"/diff")
}

// WriteFile makes body a file of a session's sandbox.
func (c *Client) WriteFile(ctx context.Context, sessionID, path string, body io.Reader) error {
	return c.put(ctx, filesPath(sessionID, path), "application/octet-stream", body)
}

// Unpack unpacks a tar archive into a directory of a session's sandbox.
func (c *Client) Unpack(ctx context.Context, sessionID, path string, archive io.Reader) error {
	return c.put(ctx, filesPath(sessionID, path), tarType, archive)
}

func (c *Client) open(ctx context.Context, path string) (io.ReadCloser, error) {
	res, err := c.send(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

func (c *Client) put(ctx context.Context, path, kind string, body io.Reader) error {
	res, err := c.send(ctx, http.MethodPut, path, kind, body)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
