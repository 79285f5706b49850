-- Every version of an annotation, oldest first.
SELECT * FROM annotation WHERE id = %(id)s ORDER BY version LIMIT 1000
