-- What people observed of a bed between two times, oldest first.
SELECT received_at, body FROM input
WHERE kind = 'observations' AND scope = %(bed)s AND received_at >= %(start)s AND received_at < %(end)s
ORDER BY received_at LIMIT 5000
