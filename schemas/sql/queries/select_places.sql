-- Every interval of every stay.
SELECT stay.id AS stay, bed.name AS bed, lower(during) AS start_at, upper(during) AS end_at
FROM stay_place JOIN stay ON stay.number = stay_place.stay JOIN bed ON bed.id = stay_place.bed
ORDER BY lower(during), stay.id
