-- How long each bed was monitored between two times, in days, by minutes that hold a reading; an
-- hour that holds any counts whole for devices that send less often than every minute.
SELECT bed.name AS bed, greatest(
    (SELECT count(*) / 1440.0 FROM numerics_1m
        WHERE bed_id = bed.id AND bucket >= %(start)s AND bucket < %(end)s),
    (SELECT count(*) / 24.0 FROM numerics_1h
        WHERE bed_id = bed.id AND bucket >= %(start)s AND bucket < %(end)s
            AND NOT EXISTS (SELECT 1 FROM stream WHERE stream.bed_id = bed.id AND interval_s < 60))
) AS days
FROM bed
WHERE (%(bed)s::text IS NULL OR bed.name = %(bed)s) ORDER BY bed.name LIMIT 5000
