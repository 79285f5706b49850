-- A question of the wrong-bed guard; one of a kind is open for a patient at a time.
INSERT INTO identity_question (id, bed, stay, kind, detail, asked_at)
SELECT %(id)s, %(bed)s, %(stay)s, %(kind)s, %(detail)s, %(at)s
WHERE NOT EXISTS (
    SELECT 1 FROM identity_question
    WHERE bed = %(bed)s AND stay = %(stay)s AND kind = %(kind)s AND answer IS NULL
)
ON CONFLICT (id) DO NOTHING
