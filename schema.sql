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
  created_at           INTEGER NOT NULL
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
  phase              TEXT,
  phase_detail       TEXT,             -- at most 500 characters
  container_id       TEXT,             -- the engine's id of the sandbox
  harness_session_id TEXT,             -- the session's id inside the harness
  failure_reason     TEXT,
  skill_ids          TEXT    NOT NULL, -- JSON array: extra skills of this session
  env_names          TEXT    NOT NULL, -- JSON array: names of per-session env_vars; values are never stored
  env_plain          TEXT    NOT NULL, -- JSON array: those of env_names that are no secret
  warnings           TEXT    NOT NULL, -- JSON array of sentences
  created_at         INTEGER NOT NULL,
  creating_since     INTEGER NOT NULL, -- last entry into creating
  last_seen_at       INTEGER,          -- last activity
  stopped_at         INTEGER,
  response_short     TEXT,             -- JSON: response as lists show it, NULL when it is short already
  response           TEXT              -- JSON: the latest reply of the agent; last, so that other columns are read without it
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_created ON sessions (created_at, id);
CREATE INDEX sessions_by_agent   ON sessions (agent_id, created_at, id);
CREATE INDEX sessions_live       ON sessions (agent_id, status) WHERE status IN ('creating', 'ready');
CREATE INDEX sessions_by_status  ON sessions (status, created_at, id);

-- The durable log of a session: a user turn is written before the harness sees it,
-- its reply before the client does.
CREATE TABLE turns (
  session_id         TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq                INTEGER NOT NULL, -- from 0, without gaps
  role               TEXT    NOT NULL CHECK (role IN ('user', 'assistant')),
  status             TEXT    NOT NULL CHECK (status IN ('pending', 'complete', 'failed')),
  parts              TEXT    NOT NULL, -- JSON array of message parts, without image bytes
  harness_session_id TEXT,
  created_at         INTEGER NOT NULL,
  completed_at       INTEGER,
  PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;

-- The thread as the harness last showed it, so that it can be read without a sandbox.
CREATE TABLE messages (
  session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq        INTEGER NOT NULL, -- order in the thread
  id         TEXT    NOT NULL, -- the harness's message id
  body       TEXT    NOT NULL, -- JSON {"info": ..., "parts": [...]}, without image bytes
  PRIMARY KEY (session_id, seq),
  UNIQUE (session_id, id)
) STRICT, WITHOUT ROWID;

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
