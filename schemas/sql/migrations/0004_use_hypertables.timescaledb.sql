-- TimescaleDB: the same tables as hypertables, rolled up by continuous aggregates, compressed in the
-- columnstore and dropped by policies. What the plain tables hold already is taken over.

DO $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['numerics', 'numerics_rare', 'wave_block'] LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', parent, parent || '_plain');
        EXECUTE format(
            'CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING STORAGE)', parent, parent || '_plain'
        );
    END LOOP;
END $$;

ALTER TABLE numerics ADD PRIMARY KEY (bed_id, measured_at, stream_id, seq);
ALTER TABLE numerics_rare ADD PRIMARY KEY (bed_id, vital, measured_at, stream_id, seq);
ALTER TABLE wave_block ADD PRIMARY KEY (signal_id, start_at, first_seq);

SELECT create_hypertable('numerics', by_range('measured_at', interval '1 day'),
    create_default_indexes => false);
SELECT create_hypertable('numerics_rare', by_range('measured_at', interval '7 days'),
    create_default_indexes => false);
SELECT create_hypertable('wave_block', by_range('start_at', interval '6 hours'),
    create_default_indexes => false);

INSERT INTO numerics SELECT * FROM numerics_plain;
INSERT INTO numerics_rare SELECT * FROM numerics_rare_plain;
INSERT INTO wave_block SELECT * FROM wave_block_plain;
DROP TABLE numerics_plain, numerics_rare_plain, wave_block_plain;
DROP TABLE numerics_1m, numerics_1h, numerics_rare_1m, numerics_rare_1h, rollup_due;
DROP FUNCTION vigil_roll_minutes, vigil_roll_hours, vigil_add_partition, vigil_drop_partitions;

-- Every column of the key stands in segmentby or orderby: else a bloom filter of 1 byte a value.
ALTER TABLE numerics SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'bed_id, stream_id',
    timescaledb.orderby = 'measured_at, seq');
ALTER TABLE numerics_rare SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'bed_id, vital, stream_id', timescaledb.orderby = 'measured_at, seq');

DO $$
BEGIN
    EXECUTE
        'CREATE MATERIALIZED VIEW numerics_1m'
        ' WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS'
        ' SELECT bed_id, time_bucket(interval ''1 minute'', measured_at) AS bucket, '
        || vigil_each_vital(
            'min(%1$s) FILTER (WHERE %2$s) AS %1$s_min, max(%1$s) FILTER (WHERE %2$s) AS %1$s_max, '
            '(avg(%1$s) FILTER (WHERE %2$s))::real AS %1$s_mean, '
            '(count(%1$s) FILTER (WHERE %2$s))::integer AS %1$s_n'
        )
        || ' FROM numerics GROUP BY 1, 2 WITH NO DATA';
    EXECUTE
        'CREATE MATERIALIZED VIEW numerics_1h'
        ' WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS'
        ' SELECT bed_id, time_bucket(interval ''1 hour'', bucket) AS bucket, '
        || vigil_each_vital(
            'min(%1$s_min) AS %1$s_min, max(%1$s_max) AS %1$s_max, '
            '(sum(%1$s_mean * %1$s_n) / nullif(sum(%1$s_n), 0))::real AS %1$s_mean, '
            'sum(%1$s_n)::integer AS %1$s_n'
        )
        || ' FROM numerics_1m GROUP BY 1, 2 WITH NO DATA';
END $$;

CREATE MATERIALIZED VIEW numerics_rare_1m
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT bed_id, vital, time_bucket(interval '1 minute', measured_at) AS bucket,
        min(value) AS min, max(value) AS max, avg(value)::real AS mean, count(value)::integer AS n
    FROM numerics_rare WHERE quality = 0 GROUP BY 1, 2, 3 WITH NO DATA;

CREATE MATERIALIZED VIEW numerics_rare_1h
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT bed_id, vital, time_bucket(interval '1 hour', bucket) AS bucket,
        min(min) AS min, max(max) AS max, (sum(mean * n) / nullif(sum(n), 0))::real AS mean,
        sum(n)::integer AS n
    FROM numerics_rare_1m GROUP BY 1, 2, 3 WITH NO DATA;

-- Set how long things are kept, and with it the policies. A refresh never reaches as far back as
-- the raw readings are kept: it would take back rollups whose readings are gone.
CREATE FUNCTION vigil_set_policies(raw_days integer, minute_days integer, hour_days integer,
    wave_hours integer)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    kept record;
    rolled record;
BEGIN
    FOR kept IN
        SELECT * FROM (VALUES
            ('numerics', make_interval(days => raw_days)),
            ('numerics_rare', make_interval(days => raw_days)),
            ('wave_block', make_interval(hours => wave_hours)),
            ('numerics_1m', make_interval(days => minute_days)),
            ('numerics_rare_1m', make_interval(days => minute_days)),
            ('numerics_1h', make_interval(days => hour_days)),
            ('numerics_rare_1h', make_interval(days => hour_days))
        ) AS retention (relation, age)
    LOOP
        PERFORM remove_retention_policy(kept.relation::regclass, if_exists => true);
        PERFORM add_retention_policy(kept.relation::regclass, kept.age);
    END LOOP;
    CALL remove_columnstore_policy('numerics', if_exists => true);
    CALL add_columnstore_policy('numerics', after => interval '1 day');
    CALL remove_columnstore_policy('numerics_rare', if_exists => true);
    CALL add_columnstore_policy('numerics_rare', after => interval '7 days');
    FOR rolled IN
        SELECT * FROM (VALUES
            ('numerics_1m', interval '1 minute'), ('numerics_rare_1m', interval '1 minute'),
            ('numerics_1h', interval '10 minutes'), ('numerics_rare_1h', interval '10 minutes')
        ) AS rollup (relation, every)
    LOOP
        PERFORM remove_continuous_aggregate_policy(rolled.relation::regclass, if_exists => true);
        PERFORM add_continuous_aggregate_policy(
            rolled.relation::regclass,
            start_offset => greatest(make_interval(days => raw_days - 1), interval '4 hours'),
            end_offset => interval '0',
            schedule_interval => rolled.every
        );
    END LOOP;
END $$;
