-- Questions of the guard that nobody has answered, about who lies there now, oldest first.
SELECT question.id, question.bed, question.stay, question.kind, question.detail, question.asked_at
FROM identity_question question
JOIN bed ON bed.name = question.bed
JOIN stay_place ON stay_place.bed = bed.id AND during @> now()
JOIN stay ON stay.number = stay_place.stay AND stay.id = question.stay
WHERE question.answer IS NULL
ORDER BY question.asked_at LIMIT 5000
