-- Note the buckets whose rollup is owed.
INSERT INTO rollup_due (bed_id, bucket, width_s)
SELECT * FROM unnest(%b::int[], %b::timestamptz[], %b::int[])
ON CONFLICT DO NOTHING
