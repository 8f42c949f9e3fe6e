-- The indexes on what is in flight are used only by who repeats their condition. The planner likes
-- the one that begins with the status better, and would sort all that is in flight.

-- name: silent
SELECT mesh_id, id FROM delegations
WHERE status IN ('queued', 'dispatched', 'in_progress')
    AND status = 'in_progress' AND last_heartbeat <= ?
ORDER BY last_heartbeat LIMIT ?

-- name: overdue
SELECT mesh_id, id FROM delegations INDEXED BY idx_delegations_inflight_deadline
WHERE status IN ('queued', 'dispatched', 'in_progress') AND deadline <= ?
ORDER BY deadline LIMIT ?

-- name: next_silent
SELECT last_heartbeat FROM delegations
WHERE status IN ('queued', 'dispatched', 'in_progress') AND status = 'in_progress'
ORDER BY last_heartbeat LIMIT 1

-- name: next_overdue
SELECT deadline FROM delegations INDEXED BY idx_delegations_inflight_deadline
WHERE status IN ('queued', 'dispatched', 'in_progress')
ORDER BY deadline LIMIT 1
