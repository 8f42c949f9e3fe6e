-- name: insert_queued
INSERT INTO deliveries (
    seq, mailbox_id, message_id, state, priority, expires_at, due_at, target
) VALUES (?, ?, ?, 'queued', ?, ?, ?, ?)

-- name: insert_refused
INSERT INTO deliveries (
    seq, mailbox_id, message_id, state, priority, expires_at, ended_at, target, last_error
) VALUES (?, ?, ?, 'expired', ?, ?, ?, ?, 'mailbox_full')

-- name: record_stretch
INSERT INTO delivery_stretches (mailbox_id, stretch) VALUES (?, ?)
ON CONFLICT DO UPDATE SET stretch = excluded.stretch
