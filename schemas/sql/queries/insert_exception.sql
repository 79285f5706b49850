-- Change a limit for one patient.
INSERT INTO patient_exception (stay, rule, above, below, off, by, reason, until)
SELECT number, %(rule)s, %(above)s, %(below)s, %(off)s, %(by)s, %(reason)s, %(until)s
FROM stay WHERE id = %(stay)s
