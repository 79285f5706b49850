-- Whose a session is, with what break-glass adds to their scope now.
SELECT account.username, role, scope, expires_at, must_change,
    coalesce((
        SELECT array_agg(DISTINCT b.scope ORDER BY b.scope) FROM break_glass b
        WHERE b.username = account.username AND b.until_at > now() AND b.ended_by = ''
    ), '{}') AS extra,
    (SELECT min(b.until_at) FROM break_glass b
        WHERE b.username = account.username AND b.until_at > now() AND b.ended_by = '') AS extra_until
FROM session JOIN account USING (username)
WHERE token_hash = %(token)s AND expires_at > now()
