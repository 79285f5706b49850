-- Say what state a bed is in.
INSERT INTO bed_state (bed, state, until, reason, by)
VALUES (%(bed)s, %(state)s, %(until)s, %(reason)s, %(by)s)
ON CONFLICT (bed) DO UPDATE SET state = EXCLUDED.state, until = EXCLUDED.until,
    reason = EXCLUDED.reason, by = EXCLUDED.by, at = now()
