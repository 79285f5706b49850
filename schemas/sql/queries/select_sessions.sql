-- Open sessions, newest first.
SELECT session.id, username, role, opened_at, expires_at, address, agent
FROM session JOIN account USING (username)
WHERE expires_at > now() AND (%(username)s::text IS NULL OR username = %(username)s)
ORDER BY opened_at DESC, session.id
