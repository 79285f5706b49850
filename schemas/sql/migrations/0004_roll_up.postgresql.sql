-- Plain PostgreSQL: partitions by time, rolled up by the recorder, dropped by age.

-- Recompute the 1 min rollups of the given bed-minutes from the raw readings.
DO $$
BEGIN
    EXECUTE
        'CREATE OR REPLACE FUNCTION vigil_roll_minutes(beds integer[], buckets timestamptz[]) '
        'RETURNS void LANGUAGE sql AS ' || quote_literal(
            'INSERT INTO numerics_1m (bed_id, bucket, '
            || vigil_each_vital('%1$s_min, %1$s_max, %1$s_mean, %1$s_n')
            || ') SELECT due.bed_id, due.bucket, '
            || vigil_each_vital(
                'min(%1$s) FILTER (WHERE %2$s), max(%1$s) FILTER (WHERE %2$s), '
                'avg(%1$s) FILTER (WHERE %2$s), count(%1$s) FILTER (WHERE %2$s)'
            )
            || ' FROM unnest(beds, buckets) AS due (bed_id, bucket)'
            || ' JOIN numerics raw ON raw.bed_id = due.bed_id AND raw.measured_at >= due.bucket'
            || ' AND raw.measured_at < due.bucket + interval ''1 minute'''
            || ' GROUP BY due.bed_id, due.bucket ON CONFLICT (bed_id, bucket) DO UPDATE SET '
            || vigil_each_vital(
                '%1$s_min = EXCLUDED.%1$s_min, %1$s_max = EXCLUDED.%1$s_max, '
                '%1$s_mean = EXCLUDED.%1$s_mean, %1$s_n = EXCLUDED.%1$s_n'
            )
            || '; INSERT INTO numerics_rare_1m (bed_id, vital, bucket, min, max, mean, n)'
            || ' SELECT due.bed_id, vital, due.bucket, min(value), max(value), avg(value), count(value)'
            || ' FROM unnest(beds, buckets) AS due (bed_id, bucket)'
            || ' JOIN numerics_rare raw ON raw.bed_id = due.bed_id AND raw.measured_at >= due.bucket'
            || ' AND raw.measured_at < due.bucket + interval ''1 minute'''
            || ' WHERE quality = 0 GROUP BY due.bed_id, vital, due.bucket'
            || ' ON CONFLICT (bed_id, vital, bucket) DO UPDATE SET'
            || ' min = EXCLUDED.min, max = EXCLUDED.max, mean = EXCLUDED.mean, n = EXCLUDED.n'
        );
    -- Recompute the 1 h rollups of the given bed-hours from the 1 min rollups.
    EXECUTE
        'CREATE OR REPLACE FUNCTION vigil_roll_hours(beds integer[], buckets timestamptz[]) '
        'RETURNS void LANGUAGE sql AS ' || quote_literal(
            'INSERT INTO numerics_1h (bed_id, bucket, '
            || vigil_each_vital('%1$s_min, %1$s_max, %1$s_mean, %1$s_n')
            || ') SELECT due.bed_id, due.bucket, '
            || vigil_each_vital(
                'min(%1$s_min), max(%1$s_max), '
                'sum(%1$s_mean * %1$s_n) / nullif(sum(%1$s_n), 0), sum(%1$s_n)'
            )
            || ' FROM unnest(beds, buckets) AS due (bed_id, bucket)'
            || ' JOIN numerics_1m fine ON fine.bed_id = due.bed_id AND fine.bucket >= due.bucket'
            || ' AND fine.bucket < due.bucket + interval ''1 hour'''
            || ' GROUP BY due.bed_id, due.bucket ON CONFLICT (bed_id, bucket) DO UPDATE SET '
            || vigil_each_vital(
                '%1$s_min = EXCLUDED.%1$s_min, %1$s_max = EXCLUDED.%1$s_max, '
                '%1$s_mean = EXCLUDED.%1$s_mean, %1$s_n = EXCLUDED.%1$s_n'
            )
            || '; INSERT INTO numerics_rare_1h (bed_id, vital, bucket, min, max, mean, n)'
            || ' SELECT due.bed_id, vital, due.bucket, min(min), max(max), sum(mean * n) / sum(n), sum(n)'
            || ' FROM unnest(beds, buckets) AS due (bed_id, bucket)'
            || ' JOIN numerics_rare_1m fine ON fine.bed_id = due.bed_id AND fine.bucket >= due.bucket'
            || ' AND fine.bucket < due.bucket + interval ''1 hour'''
            || ' WHERE n > 0 GROUP BY due.bed_id, vital, due.bucket'
            || ' ON CONFLICT (bed_id, vital, bucket) DO UPDATE SET'
            || ' min = EXCLUDED.min, max = EXCLUDED.max, mean = EXCLUDED.mean, n = EXCLUDED.n'
        );
END $$;

-- Partition names carry the hour too: waves are kept in shorter pieces than readings.
CREATE OR REPLACE FUNCTION vigil_add_partition(parent text, from_at timestamptz, to_at timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
        parent || '_p' || to_char(
            from_at AT TIME ZONE 'UTC',
            CASE WHEN to_at - from_at < interval '1 day' THEN 'YYYYMMDDHH24' ELSE 'YYYYMMDD' END
        ),
        parent, from_at, to_at
    );
END $$;

-- The recorder itself drops what is too old here; there are no policies to set.
CREATE FUNCTION vigil_set_policies(raw_days integer, minute_days integer, hour_days integer,
    wave_hours integer)
RETURNS void LANGUAGE sql AS 'SELECT';
