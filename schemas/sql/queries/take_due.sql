-- Take the owed buckets of one width that ended before a time, at most so many.
DELETE FROM rollup_due
WHERE (width_s, bucket, bed_id) IN (
    SELECT width_s, bucket, bed_id FROM rollup_due
    WHERE width_s = %(width_s)s AND bucket <= %(before)s - make_interval(secs => %(width_s)s)
    ORDER BY bucket LIMIT %(limit)s)
RETURNING bed_id, bucket
