package db

import "context"

// Reset deletes all that users have made, and what came of it: agents with their sessions,
// and skills. The id of the installation stays. So do the sandboxes of the pool, which are
// nobody's then: their agent's id is empty. All others are condemned, and returned.
func (s *Store) Reset(ctx context.Context) ([]Sandbox, error) {
	defer s.agents.clear()
	var condemned []Sandbox
	err := s.tx(ctx, func(t tx) error {
		for _, query := range []string{`DELETE FROM agents`, `DELETE FROM skills`} { // and all that refers to them
			if _, err := t.exec(ctx, query); err != nil {
				return err
			}
		}
		_, err := t.exec(ctx, `UPDATE sandboxes SET agent_id = '', created_at = min(created_at, ?1), ready_at = min(ready_at, ?1)
			WHERE warm_key IS NOT NULL AND state IN ('making', 'warm')`, s.nowMillis()) // the clock may have been set back
		if err != nil {
			return err
		}
		rows, err := t.query(ctx, `UPDATE sandboxes SET state = 'removing' WHERE warm_key IS NULL OR state NOT IN ('making', 'warm')
			RETURNING `+sandboxColumns)
		condemned, err = collect(rows, err, scanSandbox)
		return err
	})
	return condemned, err
}
