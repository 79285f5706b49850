-- The ledger in the order of what happened, and nothing that a wall clock decided: the same on
-- every machine for the same inputs.
SELECT event, alert, kind, bed, rule, technical, priority, vital, value, limit_value, unit, pack,
    pack_version, onset_at, at, delayed, acknowledged_by, device, zh, en, overlay, inputs, extreme,
    latched, muted_by, reason, shelved_until, acknowledged_at, step, role, done_by
FROM alert_event
WHERE (%(bed)s::text IS NULL OR bed = %(bed)s) AND at >= %(since)s AND at < %(until)s
ORDER BY at, bed COLLATE "C", alert COLLATE "C", event COLLATE "C"
