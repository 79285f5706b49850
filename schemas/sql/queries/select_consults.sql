-- Consults, newest change first: of a bed or all, those still open or all, of a time.
SELECT id, bed FROM consult
WHERE (%(bed)s::text IS NULL OR bed = %(bed)s) AND (NOT %(open)s OR state IN ('waiting', 'active'))
    AND changed_at >= %(since)s
ORDER BY changed_at DESC LIMIT %(limit)s
