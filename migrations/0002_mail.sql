-- Mail. One broker-wide counter numbers everything that passes: a message takes the next odd number
-- (its seq in the sender's mailbox), its deliveries the even ones behind it (their seq in the
-- recipients'). So (mailbox, seq) is unique because seq is, rows are always appended, and the
-- deliveries of message m are exactly the seqs from m + 1 to m + 2 * total - 1.
-- A CHECK with OR costs a fifth of one with IN, which builds a temporary table for every row.

CREATE TABLE messages (
    id INTEGER PRIMARY KEY CHECK (id % 2 = 1),
    mesh_id INTEGER NOT NULL,
    sender_id INTEGER,
    from_mailbox INTEGER,
    sender TEXT NOT NULL,
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 255),
    body BLOB NOT NULL,
    sent_at INTEGER NOT NULL,
    total INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    receipt INTEGER NOT NULL DEFAULT 0,
    reply_to INTEGER,
    meta BLOB
);

-- `due_at` is set while a queued delivery waits (delay, backoff) and NULL when it is ready.
-- mailbox_id and message_id are not declared as foreign keys: the check would read two trees for
-- each row, and the purge a third; `doctor` looks for orphans instead.
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY CHECK (seq % 2 = 0),
    mailbox_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL CHECK (message_id < seq),
    state TEXT NOT NULL CHECK (
        state = 'claimed' OR state = 'acked' OR state = 'queued'
        OR state = 'dead' OR state = 'expired' OR state = 'cancelled'
    ),
    priority INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    claims INTEGER NOT NULL DEFAULT 0,
    claim_id INTEGER,
    claimed_by INTEGER,
    claimed_at INTEGER,
    claim_expires_at INTEGER,
    delivered_at INTEGER,
    due_at INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    extends INTEGER NOT NULL DEFAULT 0,
    extended_at INTEGER,
    ended_at INTEGER,
    target TEXT,
    last_error TEXT,
    outputs_sha256 BLOB,
    outputs TEXT,
    CHECK (state <> 'claimed' OR claim_id IS NOT NULL),
    CHECK (state <> 'acked' OR delivered_at IS NOT NULL)
);

CREATE INDEX deliveries_ready ON deliveries (mailbox_id, priority DESC, seq)
    WHERE state = 'queued' AND due_at IS NULL;
CREATE INDEX deliveries_due ON deliveries (due_at)
    WHERE state = 'queued' AND due_at IS NOT NULL;
CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE state = 'queued';
CREATE INDEX deliveries_dead ON deliveries (mailbox_id, seq) WHERE state = 'dead';
-- Only for counting: what is in no index at all has been acked, or is claimed and known to memory.
CREATE INDEX deliveries_gone ON deliveries (state) WHERE state = 'expired' OR state = 'cancelled';

-- Which stretches of the counter hold deliveries of a mailbox: looking through a mailbox reads
-- these instead of an index on every delivery. A stretch is 16,384 numbers.
CREATE TABLE delivery_stretches (
    mailbox_id INTEGER NOT NULL,
    stretch INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, stretch)
) WITHOUT ROWID;

-- What departs from the straight path (accepted, claimed, acked), which the delivery itself tells.
CREATE TABLE delivery_history (
    id INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL,
    event TEXT NOT NULL CHECK (
        event IN ('claimed', 'extended', 'nacked', 'released', 'dead', 'expired', 'cancelled',
            'redriven')
    ),
    at INTEGER NOT NULL,
    presence INTEGER,
    reason TEXT,
    count INTEGER NOT NULL DEFAULT 1
);

CREATE INDEX delivery_history_delivery ON delivery_history (delivery, id);

-- A mailbox was closed: what stands in it up to `through` ends in chunks.
CREATE TABLE mailbox_endings (
    mailbox_id INTEGER NOT NULL,
    through INTEGER NOT NULL,
    reason TEXT NOT NULL CHECK (reason IN ('session_closed', 'member_removed')),
    PRIMARY KEY (mailbox_id, through)
) WITHOUT ROWID;

CREATE TABLE message_keys (
    sender_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    content_sha256 BLOB NOT NULL,
    message_id INTEGER NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (sender_id, key)
) WITHOUT ROWID;

CREATE INDEX message_keys_expiring ON message_keys (expires_at);
