-- What is new: budgets, what sessions have used, the connections and requests of their
-- sandboxes, hosts that per-session variables are bound to.

ALTER TABLE agents ADD COLUMN budget TEXT;
ALTER TABLE agents ADD COLUMN egress_default_deny INTEGER CHECK (egress_default_deny IN (0, 1));
ALTER TABLE sessions ADD COLUMN budget TEXT;
ALTER TABLE sessions ADD COLUMN env_hosts TEXT NOT NULL DEFAULT '{}';

CREATE INDEX turns_sent ON turns (session_id, sent_at, completed_at) WHERE sent_at IS NOT NULL;

CREATE TABLE usage (
  session_id         TEXT    NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
  agent_id           TEXT    NOT NULL,
  calls              INTEGER NOT NULL,
  input_tokens       INTEGER NOT NULL,
  output_tokens      INTEGER NOT NULL,
  cache_read_tokens  INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  cost               REAL    NOT NULL,
  unpriced_calls     INTEGER NOT NULL,
  estimated_calls    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_agent ON usage (agent_id);

CREATE TABLE egress (
  session_id  TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq         INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  host        TEXT    NOT NULL,
  port        INTEGER NOT NULL,
  address     TEXT    NOT NULL,
  via         TEXT    NOT NULL,
  rule        TEXT    NOT NULL,
  reason      TEXT    NOT NULL,
  refused     INTEGER NOT NULL CHECK (refused IN (0, 1)),
  opened      INTEGER NOT NULL CHECK (opened IN (0, 1)),
  sent        INTEGER NOT NULL,
  received    INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,
  PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE interceptions (
  session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq        INTEGER NOT NULL,
  at         INTEGER NOT NULL,
  body       TEXT    NOT NULL,
  PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;
