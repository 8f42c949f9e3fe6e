-- Dispatches, first form: prompts, the queue of work by agent type, its contexts and attempts. What
-- a piece of work is told apart by comes with the next file.
-- Reasons: `reported` by the worker (its words are `given_reason`), `lease_expired`, `ttl`,
-- `cancelled`, `legacy` (from before a dispatch had an identity), `imported` by the doctor.

CREATE TABLE dispatch_prompt_refs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 TEXT NOT NULL UNIQUE CHECK (length(sha256) = 64),
    content BLOB NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE dispatch_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    mesh_id INTEGER NOT NULL REFERENCES meshes (id),
    agent_type TEXT NOT NULL,
    prompt_ref_id INTEGER NOT NULL REFERENCES dispatch_prompt_refs (id),
    status TEXT NOT NULL DEFAULT 'pending' CHECK (
        status IN ('pending', 'leased', 'consumed', 'failed', 'expired', 'cancelled')
    ),
    reason TEXT CHECK (
        reason IN ('reported', 'lease_expired', 'ttl', 'cancelled', 'legacy', 'imported')
    ),
    attempt INTEGER NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    max_attempts INTEGER NOT NULL,
    expires_at INTEGER,
    created_by INTEGER REFERENCES members (id),
    creator_box INTEGER,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    lease_owner TEXT,
    lease_member_id INTEGER REFERENCES members (id),
    lease_token TEXT,
    lease_expires_at INTEGER
);

CREATE TABLE dispatch_context (
    dispatch_id INTEGER PRIMARY KEY REFERENCES dispatch_queue (id),
    parent_session_id TEXT,
    target_agent TEXT NOT NULL,
    dag_task_id TEXT,
    domain TEXT NOT NULL,
    context BLOB,
    created_at INTEGER NOT NULL
);

CREATE TABLE dispatch_attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    dispatch_id INTEGER NOT NULL REFERENCES dispatch_queue (id),
    attempt_number INTEGER NOT NULL CHECK (attempt_number >= 1),
    status TEXT NOT NULL DEFAULT 'pending' CHECK (
        status IN ('pending', 'leased', 'consumed', 'failed', 'expired', 'cancelled')
    ),
    lease_owner TEXT,
    lease_member_id INTEGER REFERENCES members (id),
    created_at INTEGER NOT NULL,
    leased_at INTEGER,
    finished_at INTEGER,
    outcome BLOB,
    reason TEXT CHECK (
        reason IN ('reported', 'lease_expired', 'ttl', 'cancelled', 'legacy', 'imported')
    ),
    given_reason TEXT,
    error TEXT,
    retryable INTEGER CHECK (retryable IN (0, 1)),
    UNIQUE (dispatch_id, attempt_number),
    CHECK ((reason IS NULL) = (status IN ('pending', 'leased', 'consumed'))),
    CHECK ((finished_at IS NULL) = (status IN ('pending', 'leased'))),
    CHECK (status <> 'leased' OR (lease_owner IS NOT NULL AND leased_at IS NOT NULL)),
    CHECK (status = 'consumed' OR outcome IS NULL),
    CHECK ((given_reason IS NULL) = (reason IS NULL OR reason <> 'reported'))
);
