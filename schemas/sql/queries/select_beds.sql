-- All beds with the time of the newest data of the last 2 days, at most 2000 beds.
SELECT bed.name, bed.hospital, greatest(
    (SELECT max(received_at) FROM numerics
        WHERE bed_id = bed.id AND measured_at > now() - interval '2 days'),
    (SELECT max(bucket) FROM numerics_1m
        WHERE bed_id = bed.id AND bucket > now() - interval '2 days')
) AS last_received
FROM bed ORDER BY bed.name LIMIT 2000
