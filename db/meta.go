package db

import "context"

// Installation returns the id of this installation, made on first use. It labels
// everything that lap makes on a container engine that others may share.
func (s *Store) Installation(ctx context.Context) (string, error) {
	var id string
	err := s.tx(ctx, func(t tx) error {
		if _, err := t.exec(ctx, `INSERT OR IGNORE INTO meta (key, value) VALUES ('installation', ?)`, s.newID()); err != nil {
			return err
		}
		return t.row(ctx, `SELECT value FROM meta WHERE key = 'installation'`).Scan(&id)
	})
	return id, err
}
