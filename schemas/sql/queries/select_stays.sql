-- Some stays, newest first, and who it is, sealed; all of them when none is named.
SELECT stay.id AS stay, stay.age, stay.admitted_at, sealed
FROM stay LEFT JOIN identity.patient ON identity.patient.stay = stay.id
WHERE (%(ids)s::text[] IS NULL OR stay.id = ANY (%(ids)s))
ORDER BY stay.admitted_at DESC, stay.id LIMIT 20000
