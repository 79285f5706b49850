-- Questions of the guard that nobody has answered, oldest first.
SELECT id, bed, stay, kind, detail, asked_at FROM identity_question WHERE answer IS NULL
ORDER BY asked_at LIMIT 5000
