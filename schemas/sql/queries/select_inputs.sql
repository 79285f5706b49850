-- What intake decided from beside readings and statuses: of a bed and its hospital, and the newest
-- configuration from before the first time.
SELECT scope, kind, received_at, body FROM input
WHERE scope IN (%(bed)s, %(hospital)s) AND kind <> 'config/rules'
    AND received_at >= %(start)s AND received_at < %(end)s
UNION ALL
(SELECT scope, kind, received_at, body FROM input
WHERE scope = %(hospital)s AND kind = 'config/care' AND received_at < %(start)s
ORDER BY received_at DESC LIMIT 1)
UNION ALL
SELECT DISTINCT ON (id) scope, kind, received_at, body FROM (
    SELECT scope, kind, received_at, body, md5(body) AS id FROM input
    WHERE scope = %(bed)s AND kind = 'observations' AND received_at < %(start)s
        AND received_at >= %(start)s - interval '12 hours'
) before
ORDER BY received_at
