-- Note the buckets whose rollup is owed.
INSERT INTO rollup_due (bed_id, bucket, width_s)
SELECT bed_id, bucket, %s FROM unnest(%b::int[], %b::timestamptz[]) AS due (bed_id, bucket)
ON CONFLICT DO NOTHING
