-- What is new: the event log, queued turns, idempotency keys, kept output, known
-- sandboxes. What was: the guest of a sandbox made by an older lap has no journal, so
-- such a sandbox is removed, and its session brought back by the next message.

ALTER TABLE sessions RENAME TO old_sessions;
ALTER TABLE turns RENAME TO old_turns;
ALTER TABLE messages RENAME TO old_messages;
DROP INDEX sessions_by_created;
DROP INDEX sessions_by_agent;
DROP INDEX sessions_live;
DROP INDEX sessions_by_status;

CREATE TABLE sessions (
  id                 TEXT    NOT NULL PRIMARY KEY,
  agent_id           TEXT    NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  model              TEXT    NOT NULL,
  title              TEXT,
  title_preview      TEXT,
  status             TEXT    NOT NULL CHECK (status IN ('creating', 'ready', 'failed', 'dead')),
  generation         INTEGER NOT NULL,
  revivable          INTEGER NOT NULL CHECK (revivable IN (0, 1)),
  phase              TEXT,
  phase_detail       TEXT,
  timings            TEXT,
  container_id       TEXT,
  guest_id           TEXT,
  journal            INTEGER NOT NULL,
  harness_session_id TEXT,
  primed             INTEGER NOT NULL CHECK (primed IN (0, 1)),
  progress_token     TEXT,
  failure_reason     TEXT,
  skill_ids          TEXT    NOT NULL,
  env_names          TEXT    NOT NULL,
  env_plain          TEXT    NOT NULL,
  warnings           TEXT    NOT NULL,
  last_event         INTEGER NOT NULL,
  created_at         INTEGER NOT NULL,
  creating_since     INTEGER NOT NULL,
  deadline_at        INTEGER,
  last_seen_at       INTEGER,
  stopped_at         INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_created ON sessions (created_at, id);
CREATE INDEX sessions_by_agent   ON sessions (agent_id, created_at, id);
CREATE INDEX sessions_live       ON sessions (agent_id, status) WHERE status IN ('creating', 'ready');
CREATE INDEX sessions_by_status  ON sessions (status, created_at, id);
CREATE INDEX sessions_revivable  ON sessions (stopped_at) WHERE revivable = 1;

CREATE TABLE responses (
  session_id TEXT NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
  short      TEXT,
  body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE turns (
  session_id         TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq                INTEGER NOT NULL,
  status             TEXT    NOT NULL CHECK (status IN ('queued', 'running', 'complete', 'failed', 'interrupted')),
  parts              TEXT    NOT NULL,
  request            TEXT,
  lossy              INTEGER NOT NULL CHECK (lossy IN (0, 1)),
  reply              TEXT,
  error              TEXT,
  harness_session_id TEXT,
  first_event        INTEGER,
  created_at         INTEGER NOT NULL,
  deadline_at        INTEGER NOT NULL,
  sent_at            INTEGER,
  completed_at       INTEGER,
  PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX turns_open ON turns (session_id, seq) WHERE status IN ('queued', 'running');

CREATE TABLE events (
  session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq        INTEGER NOT NULL,
  length     INTEGER NOT NULL,
  type       TEXT    NOT NULL,
  body       TEXT    NOT NULL,
  pieces     TEXT,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
  session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq        INTEGER NOT NULL,
  id         TEXT    NOT NULL,
  body       TEXT    NOT NULL,
  PRIMARY KEY (session_id, seq),
  UNIQUE (session_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE outputs (
  session_id TEXT    NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
  text       TEXT    NOT NULL,
  saved_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
  scope      TEXT    NOT NULL,
  key        TEXT    NOT NULL,
  hash       TEXT    NOT NULL,
  session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  turn_seq   INTEGER,
  answer     TEXT,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_session ON idempotency (session_id);

CREATE TABLE sandboxes (
  name         TEXT    NOT NULL PRIMARY KEY,
  session_id   TEXT    NOT NULL,
  agent_id     TEXT    NOT NULL,
  generation   INTEGER NOT NULL,
  state        TEXT    NOT NULL CHECK (state IN ('making', 'warm', 'owned', 'removing')),
  container_id TEXT,
  warm_key     TEXT,
  frozen       INTEGER NOT NULL CHECK (frozen IN (0, 1)),
  created_at   INTEGER NOT NULL,
  ready_at     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sandboxes_by_session ON sandboxes (session_id);
CREATE INDEX sandboxes_warm       ON sandboxes (warm_key, ready_at) WHERE state = 'warm';

INSERT INTO sessions (id, agent_id, model, title, title_preview, status, generation, revivable, phase, phase_detail,
  journal, harness_session_id, primed, failure_reason, skill_ids, env_names, env_plain, warnings, last_event,
  created_at, creating_since, last_seen_at, stopped_at)
SELECT id, agent_id, model, title, title_preview,
  CASE status WHEN 'ready' THEN 'dead' WHEN 'creating' THEN 'failed' ELSE status END,
  generation, status = 'ready', phase, phase_detail, 0, harness_session_id, 0,
  CASE status WHEN 'ready' THEN 'lap was upgraded'
    WHEN 'creating' THEN 'lap was upgraded during bring-up: create the session again' ELSE failure_reason END,
  skill_ids, env_names, env_plain, warnings, 0, created_at, creating_since, last_seen_at,
  CASE WHEN status IN ('ready', 'creating') THEN CAST(unixepoch('subsec') * 1000 AS INTEGER) ELSE stopped_at END
FROM old_sessions;

INSERT INTO responses (session_id, short, body)
SELECT id, response_short, response FROM old_sessions WHERE response IS NOT NULL;

-- An older lap wrote an answer as a row of its own, some time after the row it answers.
INSERT INTO turns (session_id, seq, status, parts, lossy, reply, error, harness_session_id,
  created_at, deadline_at, sent_at, completed_at)
SELECT session_id, row_number() OVER (PARTITION BY session_id ORDER BY seq) - 1,
  CASE status WHEN 'pending' THEN 'interrupted' ELSE status END, parts, 0,
  CASE status WHEN 'complete' THEN '{"parts":' || coalesce((
    SELECT a.parts FROM old_turns a WHERE a.session_id = u.session_id AND a.role = 'assistant' AND a.seq > u.seq
    AND NOT EXISTS (SELECT 1 FROM old_turns v WHERE v.session_id = u.session_id AND v.role = 'user'
      AND v.status = 'complete' AND v.seq > u.seq AND v.seq < a.seq)
    ORDER BY a.seq LIMIT 1), '[]') || '}' END,
  CASE status WHEN 'pending' THEN 'lap was upgraded' WHEN 'failed' THEN 'the turn failed' END,
  harness_session_id, created_at, created_at, created_at,
  CASE status WHEN 'pending' THEN CAST(unixepoch('subsec') * 1000 AS INTEGER) ELSE completed_at END
FROM old_turns u WHERE role = 'user';

INSERT INTO messages (session_id, seq, id, body) SELECT session_id, seq, id, body FROM old_messages;

-- One whose bring-up was under way may have a sandbox that is not noted yet.
INSERT INTO sandboxes (name, session_id, agent_id, generation, state, container_id, frozen, created_at)
SELECT 'lap-' || id || '-' || generation, id, agent_id, generation, 'removing', container_id, 0, creating_since
FROM old_sessions WHERE container_id IS NOT NULL OR status = 'creating';

DROP TABLE old_messages;
DROP TABLE old_turns;
DROP TABLE old_sessions;
