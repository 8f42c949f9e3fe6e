-- What waits for its time, by mailbox: closing or clearing one does not look through the others'.
CREATE INDEX deliveries_waiting ON deliveries (mailbox_id, seq)
    WHERE state = 'queued' AND due_at IS NOT NULL;
