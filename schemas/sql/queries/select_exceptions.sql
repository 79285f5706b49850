-- Exceptions in force, oldest first: a newer one of the same rule wins.
SELECT stay.id AS stay, rule, above, below, off, by, reason, until
FROM patient_exception JOIN stay ON stay.number = patient_exception.stay
WHERE until > %(now)s ORDER BY patient_exception.id
