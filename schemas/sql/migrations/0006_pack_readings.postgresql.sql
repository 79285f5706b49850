-- Plain PostgreSQL: readings that are older than a day stand packed, up to an hour of one stream (a
-- sparse stream: a day) in a row of arrays, which the server compresses. A tenth of the space; SQL
-- still reads them (vigil_readings), and what comes late for a packed time unpacks it first.

-- measured_step: microseconds since the reading before; delay: received minus measured.
CREATE TABLE numerics_packed (
    start_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL,
    bed_id integer NOT NULL,
    stream_id integer NOT NULL,
    first_seq bigint NOT NULL,
    rows integer NOT NULL,
    measured_step bigint[] NOT NULL,
    delay bigint[] NOT NULL,
    seq_step bigint[] NOT NULL,
    offset_ms bigint[] NOT NULL,
    late boolean[],
    sent_us bigint[],
    status bigint[],
    status2 bigint[],
    PRIMARY KEY (bed_id, start_at, stream_id, first_seq)
) PARTITION BY RANGE (start_at);

DO $$
BEGIN
    EXECUTE 'ALTER TABLE numerics_packed ' || vigil_each_vital('ADD COLUMN %1$s real[]');

    -- The readings of a packed row, as they were.
    EXECUTE
        'CREATE FUNCTION vigil_unpacked(packed numerics_packed) RETURNS SETOF numerics '
        'LANGUAGE sql STABLE ROWS 3600 AS ' || quote_literal(
            'SELECT ' || (
                SELECT string_agg(
                    CASE attname
                        WHEN 'measured_at' THEN 'measured_at'
                        WHEN 'received_at' THEN 'measured_at + delay * interval ''1 microsecond'''
                        WHEN 'bed_id' THEN 'packed.bed_id'
                        WHEN 'stream_id' THEN 'packed.stream_id'
                        WHEN 'late' THEN 'coalesce(late, false)'
                        ELSE quote_ident(attname)
                    END,
                    ', ' ORDER BY attnum
                )
                FROM pg_attribute
                WHERE attrelid = 'numerics'::regclass AND attnum > 0 AND NOT attisdropped
            )
            || ' FROM (SELECT *, packed.start_at + sum(measured_step) OVER in_order'
            || ' * interval ''1 microsecond'' AS measured_at,'
            || ' packed.first_seq + sum(seq_step) OVER in_order AS seq'
            || ' FROM unnest(packed.measured_step, packed.delay, packed.seq_step, packed.offset_ms,'
            || ' packed.late, packed.sent_us, packed.status, packed.status2, '
            || vigil_each_vital('packed.%1$s')
            || ') WITH ORDINALITY AS columns (measured_step, delay, seq_step, offset_ms, late,'
            || ' sent_us, status, status2, ' || vigil_each_vital('%1$s') || ', number)'
            || ' WINDOW in_order AS (ORDER BY number)) AS readings'
        );

    -- Pack a bed's readings between two times; return how many rows that made.
    EXECUTE
        'CREATE FUNCTION vigil_pack_bed(bed integer, from_at timestamptz, to_at timestamptz) '
        'RETURNS bigint LANGUAGE sql AS ' || quote_literal(
            'WITH gone AS (DELETE FROM numerics WHERE bed_id = bed AND measured_at >= from_at'
            || ' AND measured_at < to_at RETURNING *), '
            || 'placed AS (SELECT gone.*, CASE WHEN stream.interval_s < 30'
            || ' THEN date_trunc(''hour'', measured_at) ELSE from_at END AS bucket'
            || ' FROM gone JOIN stream ON stream.id = gone.stream_id), '
            || 'steps AS (SELECT *,'
            || ' coalesce(extract(epoch FROM measured_at - lag(measured_at) OVER before) * 1000000, 0)'
            || '::bigint AS measured_step,'
            || ' coalesce(seq - lag(seq) OVER before, 0) AS seq_step'
            || ' FROM placed WINDOW before AS (PARTITION BY stream_id, bucket ORDER BY measured_at, seq)'
            || ' ORDER BY stream_id, bucket, measured_at, seq), '
            || 'packed AS (INSERT INTO numerics_packed (start_at, end_at, bed_id, stream_id, first_seq,'
            || ' rows, measured_step, delay, seq_step, offset_ms, late, sent_us, status, status2, '
            || vigil_each_vital('%1$s')
            || ') SELECT min(measured_at), max(measured_at), bed, stream_id,'
            || ' (array_agg(seq))[1], count(*), array_agg(measured_step),'
            || ' array_agg((extract(epoch FROM received_at - measured_at) * 1000000)::bigint),'
            || ' array_agg(seq_step), array_agg(offset_ms),'
            || ' CASE WHEN bool_or(late) THEN array_agg(late) END,'
            || ' CASE WHEN count(sent_us) > 0 THEN array_agg(sent_us) END,'
            || ' CASE WHEN count(status) > 0 THEN array_agg(status) END,'
            || ' CASE WHEN count(status2) > 0 THEN array_agg(status2) END, '
            || vigil_each_vital('CASE WHEN count(%1$s) > 0 THEN array_agg(%1$s) END')
            || ' FROM steps GROUP BY stream_id, bucket RETURNING rows)'
            || ' SELECT count(*) FROM packed'
        );
END $$;

-- A bed's readings between two times, packed or not.
CREATE FUNCTION vigil_readings(bed integer, from_at timestamptz, to_at timestamptz)
RETURNS SETOF numerics LANGUAGE sql STABLE AS $$
    SELECT * FROM numerics
    WHERE bed_id = bed AND measured_at >= from_at AND measured_at < to_at
    UNION ALL
    SELECT readings.* FROM numerics_packed packed
    CROSS JOIN LATERAL vigil_unpacked(packed) AS readings
    WHERE packed.bed_id = bed AND packed.start_at < to_at AND packed.end_at >= from_at
        AND readings.measured_at >= from_at AND readings.measured_at < to_at
$$;

-- Pack one bed of the oldest day that ended before a time; drop days that hold nothing any longer.
-- Returns the packed rows it made, 0 when there is nothing left to do.
CREATE FUNCTION vigil_pack(before timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    part record;
    bed integer;
BEGIN
    PERFORM pg_advisory_xact_lock(7470127);  -- not while late readings are taken in
    FOR part IN
        SELECT child.relname AS name,
            substring(bound FROM 'FROM \(''([^'']+)''\)')::timestamptz AS from_at,
            substring(bound FROM 'TO \(''([^'']+)''\)')::timestamptz AS to_at
        FROM pg_inherits
        JOIN pg_class child ON child.oid = inhrelid,
            pg_get_expr(child.relpartbound, child.oid) AS bound
        WHERE inhparent = 'numerics'::regclass
        ORDER BY 2
    LOOP
        CONTINUE WHEN part.to_at > before OR EXISTS (  -- or its rollups are owed still
            SELECT FROM rollup_due
            WHERE width_s = 60 AND bucket >= part.from_at AND bucket < part.to_at
        );
        EXECUTE format('SELECT min(bed_id) FROM %I', part.name) INTO bed;
        IF bed IS NULL THEN
            EXECUTE format('DROP TABLE %I', part.name);
            CONTINUE;
        END IF;
        PERFORM vigil_add_partition('numerics_packed', part.from_at, part.to_at);
        RETURN vigil_pack_bed(bed, part.from_at, part.to_at);
    END LOOP;
    RETURN 0;
END $$;

-- Put back as single readings what is packed of these beds between two times, and have the days be
-- there for more: packing drops a day that has become empty.
CREATE FUNCTION vigil_unpack(beds integer[], from_at timestamptz, to_at timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    day timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(7470127);
    FOR day IN
        SELECT generate_series(date_trunc('day', from_at, 'UTC'), to_at, interval '1 day')
    LOOP
        PERFORM vigil_add_partition('numerics', day, day + interval '1 day');
    END LOOP;
    WITH gone AS (
        DELETE FROM numerics_packed
        WHERE bed_id = ANY (beds) AND start_at <= to_at AND end_at >= from_at
        RETURNING *
    )
    INSERT INTO numerics
    SELECT readings.* FROM gone
    CROSS JOIN LATERAL vigil_unpacked(gone::numerics_packed) AS readings
    ON CONFLICT DO NOTHING;
END $$;
