-- Delegations: the ledger of who asked whom for what. Nothing in it is purged.
-- Callers and callees are names, which outlive their members. A removed name may be added again as
-- a new member, so beside each name stands which member it was: that one has access, and its mail.

CREATE TABLE delegations (
    mesh_id INTEGER NOT NULL REFERENCES meshes (id),
    id TEXT NOT NULL,
    caller_id TEXT NOT NULL,
    caller_member INTEGER NOT NULL,
    callee_id TEXT NOT NULL,
    callee_member INTEGER NOT NULL,
    idempotency_key TEXT,
    opened_sha256 BLOB NOT NULL CHECK (length(opened_sha256) = 32),
    task_preview TEXT NOT NULL CHECK (length(CAST(task_preview AS BLOB)) <= 4096),
    status TEXT NOT NULL DEFAULT 'queued' CHECK (
        status IN ('queued', 'dispatched', 'in_progress', 'completed', 'failed', 'stuck',
            'cancelled')
    ),
    -- Of what came with the status that stands; NULL when nothing did.
    said_sha256 BLOB CHECK (length(said_sha256) = 32),
    result_preview TEXT CHECK (length(CAST(result_preview AS BLOB)) <= 4096),
    error_detail TEXT CHECK (length(CAST(error_detail AS BLOB)) <= 4096),
    reason TEXT,
    message_id INTEGER,
    -- How often the task's mail was handed over again.
    retry_count INTEGER NOT NULL DEFAULT 0,
    last_heartbeat INTEGER,
    deadline INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (mesh_id, id),
    CHECK ((finished_at IS NULL) = (status IN ('queued', 'dispatched', 'in_progress'))),
    CHECK (status <> 'in_progress' OR last_heartbeat IS NOT NULL)
);

-- The sweeper's two, over all meshes: a query uses them when it repeats their condition.
CREATE INDEX idx_delegations_inflight_heartbeat ON delegations (status, last_heartbeat)
    WHERE status IN ('queued', 'dispatched', 'in_progress');
CREATE INDEX idx_delegations_inflight_deadline ON delegations (deadline)
    WHERE status IN ('queued', 'dispatched', 'in_progress');

-- Lists are newest first, and may want one status only: it is read here, not in the row.
CREATE INDEX idx_delegations_caller_created
    ON delegations (mesh_id, caller_id, created_at, id, status);
CREATE INDEX idx_delegations_callee_created
    ON delegations (mesh_id, callee_id, created_at, id, status);
CREATE INDEX idx_delegations_created ON delegations (mesh_id, created_at, id);
CREATE INDEX idx_delegations_status_created ON delegations (mesh_id, status, created_at, id);

CREATE UNIQUE INDEX idx_delegations_idempotency
    ON delegations (mesh_id, caller_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX idx_delegations_message ON delegations (message_id)
    WHERE message_id IS NOT NULL;

-- The whole of what the previews are the beginning of.
CREATE TABLE delegation_contents (
    mesh_id INTEGER NOT NULL,
    delegation_id TEXT NOT NULL,
    task BLOB NOT NULL,
    result BLOB,
    PRIMARY KEY (mesh_id, delegation_id),
    FOREIGN KEY (mesh_id, delegation_id) REFERENCES delegations (mesh_id, id) ON DELETE CASCADE
);

-- Every change: when, who said it, why. `result` is here when it is not the one that stands.
CREATE TABLE delegation_history (
    number INTEGER PRIMARY KEY,
    mesh_id INTEGER NOT NULL,
    delegation_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (
        status IN ('queued', 'dispatched', 'in_progress', 'completed', 'failed', 'stuck',
            'cancelled')
    ),
    by TEXT NOT NULL,
    note TEXT,
    result BLOB,
    error TEXT,
    late INTEGER NOT NULL DEFAULT 0 CHECK (late IN (0, 1)),
    said_sha256 BLOB,
    FOREIGN KEY (mesh_id, delegation_id) REFERENCES delegations (mesh_id, id) ON DELETE CASCADE
);

CREATE INDEX delegation_history_delegation
    ON delegation_history (mesh_id, delegation_id, number);
-- The same late result again is told from a new one.
CREATE INDEX delegation_history_late ON delegation_history (mesh_id, delegation_id, said_sha256)
    WHERE late = 1;

-- How many stand where: a ledger that is never purged is not counted row by row.
CREATE TABLE delegation_counts (
    mesh_id INTEGER NOT NULL REFERENCES meshes (id),
    status TEXT NOT NULL CHECK (
        status IN ('queued', 'dispatched', 'in_progress', 'completed', 'failed', 'stuck',
            'cancelled')
    ),
    count INTEGER NOT NULL CHECK (count >= 0),
    PRIMARY KEY (mesh_id, status)
) WITHOUT ROWID;
