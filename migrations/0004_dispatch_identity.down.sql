-- The first form again. Identities are lost with their columns: the way up makes all of this
-- `legacy`. Every row and every attempt stays.

CREATE TABLE dispatch_queue_before AS SELECT * FROM dispatch_queue;

DROP TABLE dispatch_queue;

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

INSERT INTO dispatch_queue (
    id, mesh_id, agent_type, prompt_ref_id, status, reason, attempt, max_attempts, expires_at,
    created_by, creator_box, created_at, finished_at, lease_owner, lease_member_id, lease_token,
    lease_expires_at
)
SELECT
    id, mesh_id, agent_type, prompt_ref_id, status, reason, attempt, max_attempts, expires_at,
    created_by, creator_box, created_at, finished_at, lease_owner, lease_member_id, lease_token,
    lease_expires_at
FROM dispatch_queue_before;

DROP TABLE dispatch_queue_before;
