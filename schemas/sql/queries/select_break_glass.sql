-- Who saw beyond their scope since a time, or does now.
SELECT id, username, role, break_glass.scope, reason, from_at, until_at, ended_by,
    until_at > now() AND ended_by = '' AS open
FROM break_glass JOIN account USING (username)
WHERE until_at > %(since)s::timestamptz
ORDER BY from_at DESC, id
LIMIT 500
