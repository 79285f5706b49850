-- Consults, newest change first, with the bed where their patient lies now or lay last. A consult is
-- of its stay; without one, of its bed until another patient is admitted there. open: still open,
-- and the patient still lies there.
SELECT id, now_bed AS bed FROM (
    SELECT consult.*, coalesce(place.bed, consult.bed) AS now_bed,
        CASE WHEN stay <> '' THEN coalesce(place.lies, false) ELSE NOT EXISTS (
            SELECT 1 FROM stay_place JOIN bed ON bed.id = stay_place.bed
            WHERE bed.name = consult.bed AND lower(during) > consult.opened_at
        ) END AS lies
    FROM consult LEFT JOIN LATERAL (
        SELECT bed.name AS bed, upper_inf(during) AS lies
        FROM stay JOIN stay_place ON stay_place.stay = stay.number
        JOIN bed ON bed.id = stay_place.bed
        WHERE stay.id = consult.stay ORDER BY lower(during) DESC LIMIT 1
    ) place ON true
) found
WHERE (%(id)s::text IS NULL OR id = %(id)s) AND (%(bed)s::text IS NULL OR now_bed = %(bed)s)
    AND (%(scope)s::text[] IS NULL OR now_bed LIKE ANY(%(scope)s))
    AND (NOT %(open)s OR (state IN ('waiting', 'active') AND lies)) AND changed_at >= %(since)s
ORDER BY changed_at DESC LIMIT %(limit)s
