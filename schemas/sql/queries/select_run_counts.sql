-- How many readings of the given boots are stored, and on how many beds.
SELECT count(*) AS stored, count(DISTINCT numerics.bed_id) AS beds
FROM numerics JOIN stream ON stream.id = numerics.stream_id
WHERE stream.boot = ANY(%(boots)s) AND numerics.measured_at >= %(since)s
