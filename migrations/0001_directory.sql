-- The directory and presence: who exists, who is here, which mailboxes there are.
-- Times are integer epoch milliseconds, UTC. Ids are never reused (AUTOINCREMENT).

CREATE TABLE marks (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE nodes (
    node TEXT PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    started_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE meshes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
);

CREATE TABLE members (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    mesh_id INTEGER NOT NULL REFERENCES meshes (id),
    name TEXT NOT NULL CHECK (name <> 'postroom'),
    access TEXT NOT NULL DEFAULT 'member' CHECK (access IN ('owner', 'admin', 'member')),
    agent_types TEXT NOT NULL DEFAULT '[]',
    note TEXT,
    created_at INTEGER NOT NULL,
    removed_at INTEGER
);

-- A removed name may be added again: it is a new member then.
CREATE UNIQUE INDEX members_name ON members (mesh_id, name) WHERE removed_at IS NULL;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    member_id INTEGER NOT NULL REFERENCES members (id),
    secret_sha256 BLOB NOT NULL CHECK (length(secret_sha256) = 32),
    roles TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    parent TEXT REFERENCES tokens (id) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE INDEX tokens_member ON tokens (member_id);
CREATE INDEX tokens_parent ON tokens (parent) WHERE parent IS NOT NULL;

-- `session` NULL is the member's own mailbox. What stood in it up to `ended_through` has ended or
-- is being ended, in chunks, for `ended_reason`; nothing of that is handed over any more.
CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    member_id INTEGER NOT NULL REFERENCES members (id),
    session TEXT,
    chosen INTEGER NOT NULL DEFAULT 1 CHECK (chosen IN (0, 1)),
    opened_at INTEGER NOT NULL,
    vacant_at INTEGER,
    closed_at INTEGER,
    ended_through INTEGER NOT NULL DEFAULT 0,
    ended_reason TEXT CHECK (ended_reason IN ('session_closed', 'member_removed'))
);

CREATE UNIQUE INDEX mailboxes_session ON mailboxes (member_id, session) WHERE session IS NOT NULL;
CREATE UNIQUE INDEX mailboxes_member ON mailboxes (member_id) WHERE session IS NULL;
CREATE INDEX mailboxes_closed ON mailboxes (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE presences (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    member_id INTEGER NOT NULL REFERENCES members (id),
    mailbox_id INTEGER NOT NULL REFERENCES mailboxes (id),
    role TEXT NOT NULL DEFAULT 'session' CHECK (role IN ('control-plane', 'session', 'service')),
    session TEXT,
    observe INTEGER NOT NULL DEFAULT 0 CHECK (observe IN (0, 1)),
    status TEXT NOT NULL DEFAULT 'idle' CHECK (status IN ('idle', 'working', 'dnd')),
    summary TEXT,
    capacity INTEGER NOT NULL CHECK (capacity >= 0),
    host TEXT,
    client_name TEXT,
    client_version TEXT,
    token_id TEXT NOT NULL,
    resume_sha256 BLOB NOT NULL,
    previous_sha256 BLOB,
    node TEXT NOT NULL REFERENCES nodes (node),
    incarnation INTEGER NOT NULL,
    connected_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL
);

CREATE UNIQUE INDEX presences_session ON presences (member_id, session)
    WHERE session IS NOT NULL AND observe = 0;
CREATE INDEX presences_mailbox ON presences (mailbox_id);

CREATE TABLE memberships (
    mailbox_id INTEGER NOT NULL REFERENCES mailboxes (id),
    name TEXT NOT NULL,
    label TEXT,
    joined_at INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, name)
) WITHOUT ROWID;
