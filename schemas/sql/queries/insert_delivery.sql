-- Keep what became of a notification; the newest word stands.
INSERT INTO delivery (id, event, alert, bed, person, role, target, state, attempts, at, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET state = EXCLUDED.state, attempts = EXCLUDED.attempts,
    at = EXCLUDED.at, detail = EXCLUDED.detail
