-- Who lies in a bed now.
SELECT stay.id AS stay, stay.age, stay.pregnant, stay.spo2_scale, stay.spo2_ordered_by,
    stay.limits, stay.admitted_at, lower(during) AS since
FROM stay_place JOIN stay ON stay.number = stay_place.stay JOIN bed ON bed.id = stay_place.bed
WHERE bed.name = %(bed)s AND during @> %(now)s::timestamptz
