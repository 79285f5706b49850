-- End sessions: one, all of a person's, or one that must be theirs.
DELETE FROM session
WHERE (%(id)s::text IS NULL OR id = %(id)s) AND (%(username)s::text IS NULL OR username = %(username)s)
    AND num_nonnulls(%(id)s::text, %(username)s::text) > 0
RETURNING username
