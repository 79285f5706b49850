-- Append one line to the ledger; an event that is there already changes nothing.
INSERT INTO alert_event (event, alert, kind, bed, rule, technical, priority, vital, value,
    limit_value, unit, pack, pack_version, onset_at, at, delayed, acknowledged_by, device, zh, en,
    measured_at, sent_at, received_at, judged_at, fired_at, published_at, overlay, inputs, extreme,
    latched, muted_by, reason, shelved_until, acknowledged_at, step, role, done_by)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (event) DO NOTHING
