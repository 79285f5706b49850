-- Who lies in a bed now; who that is, sealed.
SELECT stay.id AS stay, stay.age, stay.pregnant, stay.spo2_scale, stay.spo2_ordered_by,
    stay.limits, stay.admitted_at, lower(during) AS since, sealed
FROM stay_place JOIN stay ON stay.number = stay_place.stay JOIN bed ON bed.id = stay_place.bed
    LEFT JOIN identity.patient ON identity.patient.stay = stay.id
WHERE bed.name = %(bed)s AND during @> %(now)s::timestamptz
