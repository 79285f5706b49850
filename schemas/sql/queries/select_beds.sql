-- All beds with the time of their last minute of data, at most 2000.
SELECT bed.name, bed.hospital, (
    SELECT max(received_at) FROM numerics WHERE bed_id = bed.id AND measured_at > now() - interval '2 days'
) AS last_received
FROM bed ORDER BY bed.name LIMIT 2000
