-- Each bed of which anything is known: its state and who lies there now.
SELECT coalesce(here.bed, bed_state.bed) AS bed, bed_state.state, bed_state.until, bed_state.reason,
    here.stay, here.age, here.admitted_at, here.pregnant, here.spo2_scale, here.limits
FROM bed_state FULL JOIN (
    SELECT bed.name AS bed, stay.id AS stay, stay.age, stay.admitted_at, stay.pregnant,
        stay.spo2_scale, stay.limits
    FROM stay_place JOIN stay ON stay.number = stay_place.stay JOIN bed ON bed.id = stay_place.bed
    WHERE during @> %(now)s::timestamptz
) here ON here.bed = bed_state.bed
ORDER BY 1
