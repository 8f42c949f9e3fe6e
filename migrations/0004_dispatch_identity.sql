-- Dispatches get their identity: the table is built anew with columns that may not be empty.
-- Rows from before have none and can never be leased again: they are `failed`, reason `legacy`. In
-- the columns that must hold something they hold what is known, and no client can name it: U+001F
-- is allowed in no field, and a key is 64 characters long.

CREATE TABLE dispatch_queue_before AS SELECT * FROM dispatch_queue;

DROP TABLE dispatch_queue;

-- `attempt` is the one that counts now, `lease_attempt` the one that the newest token was given for.
-- `lease_incarnation` is the start of the broker in which the lease was given or last renewed: one of
-- an earlier start has a floor. `creator_box` is no foreign key: mailboxes are forgotten, their ids
-- never given again. Nothing is ever taken out of these tables: a dispatch's key is good for ever.
CREATE TABLE dispatch_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    mesh_id INTEGER NOT NULL REFERENCES meshes (id),
    dispatch_key TEXT NOT NULL,
    parent_session_id TEXT NOT NULL CHECK (parent_session_id <> ''),
    agent_type TEXT NOT NULL CHECK (agent_type <> ''),
    dag_task_id TEXT NOT NULL CHECK (dag_task_id <> ''),
    prompt_ref_id INTEGER NOT NULL REFERENCES dispatch_prompt_refs (id),
    status TEXT NOT NULL DEFAULT 'pending' CHECK (
        status IN ('pending', 'leased', 'consumed', 'failed', 'expired', 'cancelled')
    ),
    reason TEXT CHECK (
        reason IN ('reported', 'lease_expired', 'ttl', 'cancelled', 'legacy', 'imported')
    ),
    attempt INTEGER NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    max_attempts INTEGER NOT NULL CHECK (max_attempts >= attempt),
    expires_at INTEGER,
    created_by INTEGER REFERENCES members (id),
    creator_box INTEGER,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    call_id TEXT,
    lease_owner TEXT,
    lease_member_id INTEGER REFERENCES members (id),
    lease_session TEXT,
    lease_presence_id INTEGER,
    lease_token TEXT,
    lease_attempt INTEGER CHECK (lease_attempt <= attempt),
    lease_expires_at INTEGER,
    lease_incarnation INTEGER,
    UNIQUE (mesh_id, parent_session_id, agent_type, dag_task_id),
    CHECK (length(dispatch_key) = 64 OR coalesce(reason, '') IN ('legacy', 'imported')),
    CHECK ((reason IS NULL) = (status IN ('pending', 'leased', 'consumed'))),
    CHECK (status <> 'failed' OR reason IN ('reported', 'lease_expired', 'legacy', 'imported')),
    CHECK (status <> 'expired' OR reason = 'ttl'),
    CHECK (status <> 'cancelled' OR reason = 'cancelled'),
    CHECK ((finished_at IS NULL) = (status IN ('pending', 'leased'))),
    CHECK (
        (lease_token IS NULL) = (lease_attempt IS NULL)
        AND (lease_token IS NULL) = (lease_expires_at IS NULL)
        AND (lease_token IS NULL) = (lease_incarnation IS NULL)
        AND (lease_token IS NULL) = (call_id IS NULL)
    ),
    CHECK (status <> 'leased' OR (lease_token IS NOT NULL AND lease_attempt = attempt))
);

INSERT INTO dispatch_queue (
    id, mesh_id, dispatch_key, parent_session_id, agent_type, dag_task_id, prompt_ref_id, status,
    reason, attempt, max_attempts, expires_at, created_by, creator_box, created_at, finished_at,
    lease_owner, lease_member_id
)
SELECT
    b.id, b.mesh_id, 'legacy:' || b.id, 'legacy' || char(31) || b.id,
    coalesce(nullif(b.agent_type, ''), 'legacy'),
    coalesce(nullif(c.dag_task_id, ''), 'legacy'),
    b.prompt_ref_id, 'failed', 'legacy', b.attempt, max(b.max_attempts, b.attempt), b.expires_at,
    b.created_by, b.creator_box, b.created_at,
    coalesce(b.finished_at, strftime('%s', 'now') * 1000), b.lease_owner, b.lease_member_id
FROM dispatch_queue_before AS b LEFT JOIN dispatch_context AS c ON c.dispatch_id = b.id;

DROP TABLE dispatch_queue_before;

UPDATE dispatch_attempts SET
    status = 'failed', reason = 'legacy', finished_at = strftime('%s', 'now') * 1000
WHERE status IN ('pending', 'leased');

CREATE UNIQUE INDEX idx_dispatch_queue_key ON dispatch_queue(mesh_id, dispatch_key);
CREATE INDEX idx_dispatch_queue_exact_pending
    ON dispatch_queue(status, agent_type, dag_task_id, prompt_ref_id);

-- What time changes: only rows that are not finished are in these.
CREATE INDEX dispatch_queue_leases ON dispatch_queue (lease_expires_at, lease_incarnation)
    WHERE status = 'leased';
CREATE INDEX dispatch_queue_expiring ON dispatch_queue (expires_at)
    WHERE status = 'pending' AND expires_at IS NOT NULL;

-- Lists, in the order of ids.
CREATE INDEX dispatch_queue_mesh ON dispatch_queue (mesh_id);
CREATE INDEX dispatch_queue_status ON dispatch_queue (mesh_id, status);
CREATE INDEX dispatch_queue_agent_type ON dispatch_queue (mesh_id, agent_type);
CREATE INDEX dispatch_queue_dag_task ON dispatch_queue (mesh_id, dag_task_id);
