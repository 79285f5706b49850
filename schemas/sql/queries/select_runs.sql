-- The runs, newest first.
SELECT * FROM run ORDER BY created_at DESC, id LIMIT %(limit)s
