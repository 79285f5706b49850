-- What people observed in the last 12 h, oldest first.
SELECT scope, received_at, body FROM input
WHERE kind = 'observations' AND received_at > now() - interval '12 hours'
ORDER BY received_at LIMIT 20000
