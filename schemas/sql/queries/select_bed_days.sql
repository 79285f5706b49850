-- In how many minutes each bed was heard between two times, by hour of the day there; of devices that
-- send less often than every minute, an hour that holds a reading counts whole.
SELECT bed.name AS bed, found.hour, found.minutes
FROM bed CROSS JOIN LATERAL (
    SELECT extract(hour FROM bucket AT TIME ZONE %(zone)s)::int AS hour, count(*) AS minutes
    FROM numerics_1m
    WHERE bed_id = bed.id AND bucket >= %(start)s AND bucket < %(end)s
        AND EXISTS (SELECT 1 FROM stream WHERE stream.bed_id = bed.id AND interval_s < 60)
    GROUP BY 1
    UNION ALL
    SELECT extract(hour FROM bucket AT TIME ZONE %(zone)s)::int, 60 * count(*)
    FROM numerics_1h
    WHERE bed_id = bed.id AND bucket >= %(start)s AND bucket < %(end)s
        AND NOT EXISTS (SELECT 1 FROM stream WHERE stream.bed_id = bed.id AND interval_s < 60)
    GROUP BY 1
) found
WHERE (%(bed)s::text IS NULL OR bed.name = %(bed)s)
    AND (%(scope)s::text[] IS NULL OR bed.name LIKE ANY(%(scope)s)) ORDER BY bed.name, found.hour LIMIT 120000
