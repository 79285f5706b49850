-- Every version of the annotations of a bed that touch a time.
SELECT * FROM annotation
WHERE bed = %(bed)s AND id IN (
    SELECT id FROM annotation WHERE bed = %(bed)s AND start_at < %(end)s AND end_at >= %(start)s
)
ORDER BY id, version LIMIT 20000
