-- The whole current schema of <data-dir>/lap.db. A new database is made from this
-- file; an older one is brought up to it by the numbered steps in db/upgrade.
--
-- Times are Unix milliseconds, UTC. Ids are lower-case UUIDs. Columns named in the
-- comment as JSON hold one compact JSON value. "sealed" means encrypted with the
-- installation's encryption key (AES-256-GCM, "enc:v1:" + base64).

-- Facts about this installation, such as its id on a shared Docker engine.
CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE agents (
  id                   TEXT    NOT NULL PRIMARY KEY,
  name                 TEXT,             -- not unique
  model                TEXT    NOT NULL, -- the gateway's model string
  prompt               TEXT,             -- with attached skill blocks
  harness_id           TEXT    NOT NULL,
  harness_image        TEXT,             -- NULL: the harness's own image
  repo_url             TEXT,
  branch               TEXT    NOT NULL,
  pfp_url              TEXT,
  tools                TEXT    NOT NULL, -- JSON array, stored as given
  mcp_servers          TEXT    NOT NULL, -- JSON array of strings
  allow_out            TEXT    NOT NULL, -- JSON array of host entries
  deny_out             TEXT    NOT NULL, -- JSON array of host entries
  env_vars             TEXT    NOT NULL, -- JSON object, name to sealed value
  env_plain            TEXT    NOT NULL, -- JSON array of names in env_vars that are no secret
  env_var_hosts        TEXT    NOT NULL, -- JSON object, name to array of hosts
  requirements         TEXT,             -- sealed pip requirements
  projects             TEXT    NOT NULL, -- JSON array of projects, stored as given
  preload_memory_limit INTEGER NOT NULL CHECK (preload_memory_limit BETWEEN 0 AND 50),
  created_by           TEXT    NOT NULL,
  created_at           INTEGER NOT NULL,
  budget               TEXT,             -- JSON object: what its sessions may use together, NULL: no limit
  egress_default_deny  INTEGER CHECK (egress_default_deny IN (0, 1)) -- 1: hosts that no list names are refused, NULL: as the server says
) STRICT, WITHOUT ROWID;
CREATE INDEX agents_by_created ON agents (created_at, id);

CREATE TABLE sessions (
  id                 TEXT    NOT NULL PRIMARY KEY,
  agent_id           TEXT    NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  model              TEXT    NOT NULL, -- the agent's when the session was made
  title              TEXT,
  title_preview      TEXT,             -- from the first user text, at most 60 characters
  status             TEXT    NOT NULL CHECK (status IN ('creating', 'ready', 'failed', 'dead')),
  generation         INTEGER NOT NULL, -- grows with each entry into creating
  revivable          INTEGER NOT NULL CHECK (revivable IN (0, 1)), -- 1: dead because its sandbox was lost, and the next message brings it back; creating: it does
  phase              TEXT,
  phase_detail       TEXT,             -- at most 500 characters
  timings            TEXT,             -- JSON object: phase to milliseconds, of the latest bring-up
  container_id       TEXT,             -- the engine's id of the sandbox
  guest_id           TEXT,             -- the guest process whose journal is followed
  journal            INTEGER NOT NULL, -- the last entry of that journal that is stored
  harness_session_id TEXT,             -- the session's id inside the harness
  primed             INTEGER NOT NULL CHECK (primed IN (0, 1)), -- 1: the harness session knows what came before
  progress_token     TEXT,             -- hex SHA-256 of the token that phase reports come with
  failure_reason     TEXT,
  skill_ids          TEXT    NOT NULL, -- JSON array: extra skills of this session
  env_names          TEXT    NOT NULL, -- JSON array: names of per-session env_vars; values are never stored
  env_plain          TEXT    NOT NULL, -- JSON array: those of env_names that are no secret
  warnings           TEXT    NOT NULL, -- JSON array of sentences
  last_event         INTEGER NOT NULL, -- seq of the newest event, 0: none
  created_at         INTEGER NOT NULL,
  creating_since     INTEGER NOT NULL, -- last entry into creating
  deadline_at        INTEGER,          -- creating: when it fails unless it makes progress
  last_seen_at       INTEGER,          -- last activity
  stopped_at         INTEGER,
  budget             TEXT,             -- JSON object: what it may use, NULL: no limit of its own
  env_hosts          TEXT    NOT NULL DEFAULT '{}' -- JSON object, name of env_names to array of hosts
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_created ON sessions (created_at, id);
CREATE INDEX sessions_by_agent   ON sessions (agent_id, created_at, id);
CREATE INDEX sessions_live       ON sessions (agent_id, status) WHERE status IN ('creating', 'ready');
CREATE INDEX sessions_by_status  ON sessions (status, created_at, id);
CREATE INDEX sessions_revivable  ON sessions (stopped_at) WHERE revivable = 1;

-- The latest reply of a session's agent. It may be large, and so stands apart: the row of
-- a session is written again with each batch of its events.
CREATE TABLE responses (
  session_id TEXT NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
  short      TEXT,          -- JSON: body as lists show it, NULL when it is short already
  body       TEXT NOT NULL  -- JSON; last, so that short is read without it
) STRICT, WITHOUT ROWID;

-- What users said, in the order in which it came, and what was answered. A turn is
-- written before the harness sees it, its reply before the client does.
CREATE TABLE turns (
  session_id         TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq                INTEGER NOT NULL, -- from 0, without gaps
  status             TEXT    NOT NULL CHECK (status IN ('queued', 'running', 'complete', 'failed', 'interrupted')),
  parts              TEXT    NOT NULL, -- JSON array of message parts, without image bytes
  request            TEXT,             -- JSON object: what else is sent to the harness, NULL: nothing
  lossy              INTEGER NOT NULL CHECK (lossy IN (0, 1)), -- 1: image bytes were left out, so it cannot be sent from this row
  reply              TEXT,             -- JSON object: the harness's reply
  error              TEXT,             -- why there is none, or none that counts
  harness_session_id TEXT,             -- to which it was sent
  first_event        INTEGER,          -- the newest event before it was sent
  created_at         INTEGER NOT NULL,
  deadline_at        INTEGER NOT NULL, -- when it fails
  sent_at            INTEGER,
  completed_at       INTEGER,
  PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX turns_open ON turns (session_id, seq) WHERE status IN ('queued', 'running');
CREATE INDEX turns_sent ON turns (session_id, sent_at, completed_at) WHERE sent_at IS NOT NULL;

-- What the model calls of a session have used. A session without calls has no row.
CREATE TABLE usage (
  session_id         TEXT    NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
  agent_id           TEXT    NOT NULL, -- of the session
  calls              INTEGER NOT NULL,
  input_tokens       INTEGER NOT NULL, -- those read from or written to a cache among them
  output_tokens      INTEGER NOT NULL,
  cache_read_tokens  INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  cost               REAL    NOT NULL, -- US dollars, of the calls whose price is known
  unpriced_calls     INTEGER NOT NULL, -- whose price is not
  estimated_calls    INTEGER NOT NULL  -- whose tokens were estimated
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_agent ON usage (agent_id);

-- The event log of a session: the frames of its harness, numbered from 1 without gaps.
-- A row holds one frame, or a run of deltas of one part, packed when its turn is over.
-- Where these differ, body of a packed row has empty strings: for the delta, and for the
-- id of a frame that has one.
CREATE TABLE events (
  session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq        INTEGER NOT NULL, -- of the last event in the row
  length     INTEGER NOT NULL, -- how many events are in the row
  type       TEXT    NOT NULL,
  body       TEXT    NOT NULL, -- JSON frame, without image bytes
  pieces     TEXT,             -- JSON array: what the empty strings stand for, event by event; NULL: not packed
  created_at INTEGER NOT NULL, -- of the last event in the row
  PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;

-- The thread of a session, as the events tell it, so that it can be read without a sandbox.
CREATE TABLE messages (
  session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq        INTEGER NOT NULL, -- order in the thread
  id         TEXT    NOT NULL, -- the harness's message id
  body       TEXT    NOT NULL, -- JSON {"info": ..., "parts": [...]}, without image bytes
  PRIMARY KEY (session_id, seq),
  UNIQUE (session_id, id)
) STRICT, WITHOUT ROWID;

-- The last 64 KiB of what a sandbox printed.
CREATE TABLE outputs (
  session_id TEXT    NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
  text       TEXT    NOT NULL,
  saved_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The newest connections that a session's sandbox made, or was refused, numbered from 1.
-- Numbers that are missing are of those that were dropped.
CREATE TABLE egress (
  session_id  TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq         INTEGER NOT NULL, -- goes on growing when the oldest are dropped
  at          INTEGER NOT NULL,
  host        TEXT    NOT NULL, -- as the sandbox asked for it
  port        INTEGER NOT NULL,
  address     TEXT    NOT NULL, -- that was dialled, empty: none
  via         TEXT    NOT NULL, -- how the sandbox asked: proxy, socks, capture
  rule        TEXT    NOT NULL, -- which decided
  reason      TEXT    NOT NULL, -- why there was no connection, empty: there was one
  refused     INTEGER NOT NULL CHECK (refused IN (0, 1)), -- 1: by a rule
  opened      INTEGER NOT NULL CHECK (opened IN (0, 1)),  -- 1: its HTTP was read
  sent        INTEGER NOT NULL, -- bytes
  received    INTEGER NOT NULL, -- bytes
  duration_ms INTEGER NOT NULL,
  PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;

-- The newest HTTP requests of a session's sandbox that were looked at, and connections
-- that were refused or passed on unopened, numbered like those in egress.
CREATE TABLE interceptions (
  session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq        INTEGER NOT NULL,
  at         INTEGER NOT NULL,
  body       TEXT    NOT NULL, -- JSON object: the rest
  PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;

-- What was answered to requests with an Idempotency-Key.
CREATE TABLE idempotency (
  scope      TEXT    NOT NULL, -- what the key was used on
  key        TEXT    NOT NULL,
  hash       TEXT    NOT NULL, -- of the request
  session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  turn_seq   INTEGER,          -- the turn it began, NULL: it created the session
  answer     TEXT,             -- JSON: the first answer, where the turn does not tell
  created_at INTEGER NOT NULL,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_session ON idempotency (session_id);

-- Every sandbox there is, or may be: a row is written before the engine is asked to make
-- one, and goes when the engine has removed it. It outlives its session.
CREATE TABLE sandboxes (
  name         TEXT    NOT NULL PRIMARY KEY,
  session_id   TEXT    NOT NULL, -- of a warm one: the id that the session which takes it will have
  agent_id     TEXT    NOT NULL, -- of a warm one: whose sessions it is meant for
  generation   INTEGER NOT NULL, -- of the session when it was made
  state        TEXT    NOT NULL CHECK (state IN ('making', 'warm', 'owned', 'removing')),
  container_id TEXT,             -- the engine's id, NULL until it is known
  warm_key     TEXT,             -- what it was made from, NULL: made for its session
  frozen       INTEGER NOT NULL CHECK (frozen IN (0, 1)), -- 1: paused by lap, or about to be
  created_at   INTEGER NOT NULL,
  ready_at     INTEGER           -- warm since
) STRICT, WITHOUT ROWID;
CREATE INDEX sandboxes_by_session ON sandboxes (session_id);
CREATE INDEX sandboxes_warm       ON sandboxes (warm_key, ready_at) WHERE state = 'warm';

CREATE TABLE skills (
  id          TEXT    NOT NULL PRIMARY KEY,
  name        TEXT    NOT NULL,
  description TEXT,
  content     TEXT    NOT NULL,
  created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX skills_by_created ON skills (created_at, id);

-- What a skill said before it was changed.
CREATE TABLE skill_versions (
  skill_id              TEXT    NOT NULL REFERENCES skills (id) ON DELETE CASCADE,
  version_number        INTEGER NOT NULL, -- from 1
  content               TEXT    NOT NULL,
  changed_by_session_id TEXT,             -- NULL: changed by a person
  created_at            INTEGER NOT NULL,
  PRIMARY KEY (skill_id, version_number)
) STRICT, WITHOUT ROWID;

CREATE TABLE memories (
  id                TEXT    NOT NULL PRIMARY KEY,
  agent_id          TEXT    NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  text              TEXT    NOT NULL,
  tags              TEXT    NOT NULL, -- JSON array of strings, at most 8
  type              TEXT    NOT NULL,
  priority          INTEGER NOT NULL, -- higher first
  pinned            INTEGER NOT NULL CHECK (pinned IN (0, 1)),
  disabled          INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  times_applied     INTEGER NOT NULL,
  last_applied_at   INTEGER,
  source            TEXT    NOT NULL CHECK (source IN ('agent', 'slack', 'ui')),
  source_user_id    TEXT,
  source_session_id TEXT,
  source_thread_ts  TEXT,
  created_at        INTEGER NOT NULL,
  updated_at        INTEGER NOT NULL -- moves on edits, not on usage
) STRICT, WITHOUT ROWID;
CREATE INDEX memories_ranked ON memories
  (agent_id, priority DESC, times_applied DESC, created_at DESC, id);
