-- The newest version of each annotation of a bed that touches a time, oldest first.
SELECT * FROM (
    SELECT DISTINCT ON (id) * FROM annotation WHERE bed = %(bed)s ORDER BY id, version DESC
) newest
WHERE NOT withdrawn AND start_at < %(end)s AND end_at >= %(start)s
ORDER BY start_at, id LIMIT 2000
