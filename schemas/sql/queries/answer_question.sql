-- What was answered, once.
UPDATE identity_question SET answer = %(answer)s, answered_by = %(by)s, answered_at = now()
WHERE id = %(id)s AND answer IS NULL
RETURNING bed, stay
