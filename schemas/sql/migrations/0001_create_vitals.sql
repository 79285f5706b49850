-- The first tables: beds, readings, rollups, the alert ledger, refusals, accounts.
-- Columns of vitals follow schemas/vitals.py COMMON; tests/unit/schemas/test_sql.py compares them.

CREATE TABLE bed (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    hospital text NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now()
);

-- One boot of one device on one bed: what makes a sequence number unique.
CREATE TABLE stream (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bed_id integer NOT NULL REFERENCES bed,
    device text NOT NULL,
    boot text NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    UNIQUE (bed_id, device, boot)
);

-- One message, one row. measured_at is the device's own clock; offset_ms is how far that clock is
-- behind ours. status holds a quality of 4 bits a vital (schemas.vitals.pack_status), null: all ok.
CREATE TABLE numerics (
    measured_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    seq bigint NOT NULL,
    status bigint,
    bed_id integer NOT NULL,
    stream_id integer NOT NULL,
    offset_ms bigint NOT NULL,
    late boolean NOT NULL,
    hr real,
    pr real,
    spo2 real,
    pi real,
    rr real,
    abp_sys real,
    abp_dia real,
    abp_mean real,
    nibp_sys real,
    nibp_dia real,
    nibp_mean real,
    temp real,
    etco2 real,
    cvp real,
    awrr real,
    PRIMARY KEY (bed_id, measured_at, stream_id, seq)
) PARTITION BY RANGE (measured_at);

-- Vitals without a column of their own, unknown ones included. quality: its code, 0 is ok.
CREATE TABLE numerics_rare (
    measured_at timestamptz NOT NULL,
    seq bigint NOT NULL,
    bed_id integer NOT NULL,
    stream_id integer NOT NULL,
    vital text NOT NULL,
    value real,
    quality smallint NOT NULL,
    PRIMARY KEY (bed_id, vital, measured_at, stream_id, seq)
) PARTITION BY RANGE (measured_at);

CREATE TABLE numerics_1m (
    bed_id integer NOT NULL,
    bucket timestamptz NOT NULL,
    hr_min real, hr_max real, hr_mean real, hr_n integer,
    pr_min real, pr_max real, pr_mean real, pr_n integer,
    spo2_min real, spo2_max real, spo2_mean real, spo2_n integer,
    pi_min real, pi_max real, pi_mean real, pi_n integer,
    rr_min real, rr_max real, rr_mean real, rr_n integer,
    abp_sys_min real, abp_sys_max real, abp_sys_mean real, abp_sys_n integer,
    abp_dia_min real, abp_dia_max real, abp_dia_mean real, abp_dia_n integer,
    abp_mean_min real, abp_mean_max real, abp_mean_mean real, abp_mean_n integer,
    nibp_sys_min real, nibp_sys_max real, nibp_sys_mean real, nibp_sys_n integer,
    nibp_dia_min real, nibp_dia_max real, nibp_dia_mean real, nibp_dia_n integer,
    nibp_mean_min real, nibp_mean_max real, nibp_mean_mean real, nibp_mean_n integer,
    temp_min real, temp_max real, temp_mean real, temp_n integer,
    etco2_min real, etco2_max real, etco2_mean real, etco2_n integer,
    cvp_min real, cvp_max real, cvp_mean real, cvp_n integer,
    awrr_min real, awrr_max real, awrr_mean real, awrr_n integer,
    PRIMARY KEY (bed_id, bucket)
) PARTITION BY RANGE (bucket);

CREATE TABLE numerics_1h (LIKE numerics_1m) PARTITION BY RANGE (bucket);
ALTER TABLE numerics_1h ADD PRIMARY KEY (bed_id, bucket);

CREATE TABLE numerics_rare_1m (
    bed_id integer NOT NULL,
    vital text NOT NULL,
    bucket timestamptz NOT NULL,
    min real, max real, mean real, n integer NOT NULL,
    PRIMARY KEY (bed_id, vital, bucket)
) PARTITION BY RANGE (bucket);

CREATE TABLE numerics_rare_1h (LIKE numerics_rare_1m) PARTITION BY RANGE (bucket);
ALTER TABLE numerics_rare_1h ADD PRIMARY KEY (bed_id, vital, bucket);

-- Buckets whose rollup is owed. width_s is 60 or 3600.
CREATE TABLE rollup_due (
    bed_id integer NOT NULL,
    bucket timestamptz NOT NULL,
    width_s integer NOT NULL,
    PRIMARY KEY (width_s, bucket, bed_id)
);

-- The ledger: append-only, one line a transition. line orders what was stored.
CREATE TABLE alert_event (
    event text PRIMARY KEY,
    line bigint GENERATED ALWAYS AS IDENTITY,
    alert text NOT NULL,
    kind text NOT NULL,
    bed text NOT NULL,
    rule text NOT NULL,
    technical boolean NOT NULL,
    priority text NOT NULL,
    vital text,
    value real,
    limit_value real,
    unit text NOT NULL,
    pack text NOT NULL,
    pack_version text NOT NULL,
    onset_at timestamptz NOT NULL,
    at timestamptz NOT NULL,
    delayed boolean NOT NULL,
    acknowledged_by text,
    device text NOT NULL,
    zh text NOT NULL,
    en text NOT NULL,
    measured_at timestamptz NOT NULL,
    sent_at timestamptz,
    received_at timestamptz NOT NULL,
    judged_at timestamptz NOT NULL,
    fired_at timestamptz NOT NULL,
    published_at timestamptz NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX alert_event_alert ON alert_event (alert, line DESC);
CREATE INDEX alert_event_bed ON alert_event (bed, onset_at DESC);
CREATE INDEX alert_event_onset ON alert_event (onset_at DESC);

CREATE FUNCTION vigil_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger % is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER alert_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON alert_event
    FOR EACH STATEMENT EXECUTE FUNCTION vigil_refuse_change();

-- One row an alert: its newest event, when it fired, who took it.
CREATE VIEW alert AS
    SELECT DISTINCT ON (alert) *
    FROM alert_event
    ORDER BY alert, (kind IN ('resolved', 'finding')) DESC, line DESC;

CREATE TABLE device_clock (
    bed text NOT NULL,
    device text NOT NULL,
    since timestamptz NOT NULL,
    offset_ms bigint NOT NULL,
    PRIMARY KEY (bed, device, since)
);

CREATE TABLE rejected (
    epoch text NOT NULL,
    device text NOT NULL,
    reason text NOT NULL,
    count bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    detail text NOT NULL,
    topic text NOT NULL,
    sample text NOT NULL,
    PRIMARY KEY (epoch, device, reason)
);

CREATE TABLE account (
    username text PRIMARY KEY,
    password_hash text NOT NULL,
    role text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A sign-in. Only a hash of the token is kept.
CREATE TABLE session (
    token_hash bytea PRIMARY KEY,
    username text NOT NULL REFERENCES account ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);

CREATE FUNCTION vigil_add_partition(parent text, from_at timestamptz, to_at timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
        parent || '_p' || to_char(from_at AT TIME ZONE 'UTC', 'YYYYMMDD'), parent, from_at, to_at
    );
END $$;

-- Drop the partitions of parent that hold nothing at or after keep_from; return how many.
CREATE FUNCTION vigil_drop_partitions(parent text, keep_from timestamptz)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    part record;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT child.relname AS name,
            substring(pg_get_expr(child.relpartbound, child.oid) FROM 'TO \(''([^'']+)''\)')
                ::timestamptz AS to_at
        FROM pg_inherits
        JOIN pg_class child ON child.oid = inhrelid
        WHERE inhparent = parent::regclass
    LOOP
        IF part.to_at <= keep_from THEN
            EXECUTE format('DROP TABLE %I', part.name);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;

-- Recompute the 1 min rollups of the given bed-minutes from the raw readings.
CREATE FUNCTION vigil_roll_minutes(beds integer[], buckets timestamptz[])
RETURNS void LANGUAGE sql AS $$
    INSERT INTO numerics_1m (bed_id, bucket,
        hr_min, hr_max, hr_mean, hr_n,
        pr_min, pr_max, pr_mean, pr_n,
        spo2_min, spo2_max, spo2_mean, spo2_n,
        pi_min, pi_max, pi_mean, pi_n,
        rr_min, rr_max, rr_mean, rr_n,
        abp_sys_min, abp_sys_max, abp_sys_mean, abp_sys_n,
        abp_dia_min, abp_dia_max, abp_dia_mean, abp_dia_n,
        abp_mean_min, abp_mean_max, abp_mean_mean, abp_mean_n,
        nibp_sys_min, nibp_sys_max, nibp_sys_mean, nibp_sys_n,
        nibp_dia_min, nibp_dia_max, nibp_dia_mean, nibp_dia_n,
        nibp_mean_min, nibp_mean_max, nibp_mean_mean, nibp_mean_n,
        temp_min, temp_max, temp_mean, temp_n,
        etco2_min, etco2_max, etco2_mean, etco2_n,
        cvp_min, cvp_max, cvp_mean, cvp_n,
        awrr_min, awrr_max, awrr_mean, awrr_n)
    SELECT due.bed_id, due.bucket,
        min(hr) FILTER (WHERE (status IS NULL OR (status >> 0) & 15 = 0)), max(hr) FILTER (WHERE (status IS NULL OR (status >> 0) & 15 = 0)),
        avg(hr) FILTER (WHERE (status IS NULL OR (status >> 0) & 15 = 0)), count(hr) FILTER (WHERE (status IS NULL OR (status >> 0) & 15 = 0)),
        min(pr) FILTER (WHERE (status IS NULL OR (status >> 4) & 15 = 0)), max(pr) FILTER (WHERE (status IS NULL OR (status >> 4) & 15 = 0)),
        avg(pr) FILTER (WHERE (status IS NULL OR (status >> 4) & 15 = 0)), count(pr) FILTER (WHERE (status IS NULL OR (status >> 4) & 15 = 0)),
        min(spo2) FILTER (WHERE (status IS NULL OR (status >> 8) & 15 = 0)), max(spo2) FILTER (WHERE (status IS NULL OR (status >> 8) & 15 = 0)),
        avg(spo2) FILTER (WHERE (status IS NULL OR (status >> 8) & 15 = 0)), count(spo2) FILTER (WHERE (status IS NULL OR (status >> 8) & 15 = 0)),
        min(pi) FILTER (WHERE (status IS NULL OR (status >> 12) & 15 = 0)), max(pi) FILTER (WHERE (status IS NULL OR (status >> 12) & 15 = 0)),
        avg(pi) FILTER (WHERE (status IS NULL OR (status >> 12) & 15 = 0)), count(pi) FILTER (WHERE (status IS NULL OR (status >> 12) & 15 = 0)),
        min(rr) FILTER (WHERE (status IS NULL OR (status >> 16) & 15 = 0)), max(rr) FILTER (WHERE (status IS NULL OR (status >> 16) & 15 = 0)),
        avg(rr) FILTER (WHERE (status IS NULL OR (status >> 16) & 15 = 0)), count(rr) FILTER (WHERE (status IS NULL OR (status >> 16) & 15 = 0)),
        min(abp_sys) FILTER (WHERE (status IS NULL OR (status >> 20) & 15 = 0)), max(abp_sys) FILTER (WHERE (status IS NULL OR (status >> 20) & 15 = 0)),
        avg(abp_sys) FILTER (WHERE (status IS NULL OR (status >> 20) & 15 = 0)), count(abp_sys) FILTER (WHERE (status IS NULL OR (status >> 20) & 15 = 0)),
        min(abp_dia) FILTER (WHERE (status IS NULL OR (status >> 24) & 15 = 0)), max(abp_dia) FILTER (WHERE (status IS NULL OR (status >> 24) & 15 = 0)),
        avg(abp_dia) FILTER (WHERE (status IS NULL OR (status >> 24) & 15 = 0)), count(abp_dia) FILTER (WHERE (status IS NULL OR (status >> 24) & 15 = 0)),
        min(abp_mean) FILTER (WHERE (status IS NULL OR (status >> 28) & 15 = 0)), max(abp_mean) FILTER (WHERE (status IS NULL OR (status >> 28) & 15 = 0)),
        avg(abp_mean) FILTER (WHERE (status IS NULL OR (status >> 28) & 15 = 0)), count(abp_mean) FILTER (WHERE (status IS NULL OR (status >> 28) & 15 = 0)),
        min(nibp_sys) FILTER (WHERE (status IS NULL OR (status >> 32) & 15 = 0)), max(nibp_sys) FILTER (WHERE (status IS NULL OR (status >> 32) & 15 = 0)),
        avg(nibp_sys) FILTER (WHERE (status IS NULL OR (status >> 32) & 15 = 0)), count(nibp_sys) FILTER (WHERE (status IS NULL OR (status >> 32) & 15 = 0)),
        min(nibp_dia) FILTER (WHERE (status IS NULL OR (status >> 36) & 15 = 0)), max(nibp_dia) FILTER (WHERE (status IS NULL OR (status >> 36) & 15 = 0)),
        avg(nibp_dia) FILTER (WHERE (status IS NULL OR (status >> 36) & 15 = 0)), count(nibp_dia) FILTER (WHERE (status IS NULL OR (status >> 36) & 15 = 0)),
        min(nibp_mean) FILTER (WHERE (status IS NULL OR (status >> 40) & 15 = 0)), max(nibp_mean) FILTER (WHERE (status IS NULL OR (status >> 40) & 15 = 0)),
        avg(nibp_mean) FILTER (WHERE (status IS NULL OR (status >> 40) & 15 = 0)), count(nibp_mean) FILTER (WHERE (status IS NULL OR (status >> 40) & 15 = 0)),
        min(temp) FILTER (WHERE (status IS NULL OR (status >> 44) & 15 = 0)), max(temp) FILTER (WHERE (status IS NULL OR (status >> 44) & 15 = 0)),
        avg(temp) FILTER (WHERE (status IS NULL OR (status >> 44) & 15 = 0)), count(temp) FILTER (WHERE (status IS NULL OR (status >> 44) & 15 = 0)),
        min(etco2) FILTER (WHERE (status IS NULL OR (status >> 48) & 15 = 0)), max(etco2) FILTER (WHERE (status IS NULL OR (status >> 48) & 15 = 0)),
        avg(etco2) FILTER (WHERE (status IS NULL OR (status >> 48) & 15 = 0)), count(etco2) FILTER (WHERE (status IS NULL OR (status >> 48) & 15 = 0)),
        min(cvp) FILTER (WHERE (status IS NULL OR (status >> 52) & 15 = 0)), max(cvp) FILTER (WHERE (status IS NULL OR (status >> 52) & 15 = 0)),
        avg(cvp) FILTER (WHERE (status IS NULL OR (status >> 52) & 15 = 0)), count(cvp) FILTER (WHERE (status IS NULL OR (status >> 52) & 15 = 0)),
        min(awrr) FILTER (WHERE (status IS NULL OR (status >> 56) & 15 = 0)), max(awrr) FILTER (WHERE (status IS NULL OR (status >> 56) & 15 = 0)),
        avg(awrr) FILTER (WHERE (status IS NULL OR (status >> 56) & 15 = 0)), count(awrr) FILTER (WHERE (status IS NULL OR (status >> 56) & 15 = 0))
    FROM unnest(beds, buckets) AS due (bed_id, bucket)
    JOIN numerics raw ON raw.bed_id = due.bed_id
        AND raw.measured_at >= due.bucket AND raw.measured_at < due.bucket + interval '1 minute'
    GROUP BY due.bed_id, due.bucket
    ON CONFLICT (bed_id, bucket) DO UPDATE SET
        hr_min = EXCLUDED.hr_min,
        hr_max = EXCLUDED.hr_max,
        hr_mean = EXCLUDED.hr_mean,
        hr_n = EXCLUDED.hr_n,
        pr_min = EXCLUDED.pr_min,
        pr_max = EXCLUDED.pr_max,
        pr_mean = EXCLUDED.pr_mean,
        pr_n = EXCLUDED.pr_n,
        spo2_min = EXCLUDED.spo2_min,
        spo2_max = EXCLUDED.spo2_max,
        spo2_mean = EXCLUDED.spo2_mean,
        spo2_n = EXCLUDED.spo2_n,
        pi_min = EXCLUDED.pi_min,
        pi_max = EXCLUDED.pi_max,
        pi_mean = EXCLUDED.pi_mean,
        pi_n = EXCLUDED.pi_n,
        rr_min = EXCLUDED.rr_min,
        rr_max = EXCLUDED.rr_max,
        rr_mean = EXCLUDED.rr_mean,
        rr_n = EXCLUDED.rr_n,
        abp_sys_min = EXCLUDED.abp_sys_min,
        abp_sys_max = EXCLUDED.abp_sys_max,
        abp_sys_mean = EXCLUDED.abp_sys_mean,
        abp_sys_n = EXCLUDED.abp_sys_n,
        abp_dia_min = EXCLUDED.abp_dia_min,
        abp_dia_max = EXCLUDED.abp_dia_max,
        abp_dia_mean = EXCLUDED.abp_dia_mean,
        abp_dia_n = EXCLUDED.abp_dia_n,
        abp_mean_min = EXCLUDED.abp_mean_min,
        abp_mean_max = EXCLUDED.abp_mean_max,
        abp_mean_mean = EXCLUDED.abp_mean_mean,
        abp_mean_n = EXCLUDED.abp_mean_n,
        nibp_sys_min = EXCLUDED.nibp_sys_min,
        nibp_sys_max = EXCLUDED.nibp_sys_max,
        nibp_sys_mean = EXCLUDED.nibp_sys_mean,
        nibp_sys_n = EXCLUDED.nibp_sys_n,
        nibp_dia_min = EXCLUDED.nibp_dia_min,
        nibp_dia_max = EXCLUDED.nibp_dia_max,
        nibp_dia_mean = EXCLUDED.nibp_dia_mean,
        nibp_dia_n = EXCLUDED.nibp_dia_n,
        nibp_mean_min = EXCLUDED.nibp_mean_min,
        nibp_mean_max = EXCLUDED.nibp_mean_max,
        nibp_mean_mean = EXCLUDED.nibp_mean_mean,
        nibp_mean_n = EXCLUDED.nibp_mean_n,
        temp_min = EXCLUDED.temp_min,
        temp_max = EXCLUDED.temp_max,
        temp_mean = EXCLUDED.temp_mean,
        temp_n = EXCLUDED.temp_n,
        etco2_min = EXCLUDED.etco2_min,
        etco2_max = EXCLUDED.etco2_max,
        etco2_mean = EXCLUDED.etco2_mean,
        etco2_n = EXCLUDED.etco2_n,
        cvp_min = EXCLUDED.cvp_min,
        cvp_max = EXCLUDED.cvp_max,
        cvp_mean = EXCLUDED.cvp_mean,
        cvp_n = EXCLUDED.cvp_n,
        awrr_min = EXCLUDED.awrr_min,
        awrr_max = EXCLUDED.awrr_max,
        awrr_mean = EXCLUDED.awrr_mean,
        awrr_n = EXCLUDED.awrr_n;

    INSERT INTO numerics_rare_1m (bed_id, vital, bucket, min, max, mean, n)
    SELECT due.bed_id, vital, due.bucket, min(value), max(value), avg(value), count(value)
    FROM unnest(beds, buckets) AS due (bed_id, bucket)
    JOIN numerics_rare raw ON raw.bed_id = due.bed_id
        AND raw.measured_at >= due.bucket AND raw.measured_at < due.bucket + interval '1 minute'
    WHERE quality = 0
    GROUP BY due.bed_id, vital, due.bucket
    ON CONFLICT (bed_id, vital, bucket) DO UPDATE SET
        min = EXCLUDED.min, max = EXCLUDED.max, mean = EXCLUDED.mean, n = EXCLUDED.n;
$$;

-- Recompute the 1 h rollups of the given bed-hours from the 1 min rollups.
CREATE FUNCTION vigil_roll_hours(beds integer[], buckets timestamptz[])
RETURNS void LANGUAGE sql AS $$
    INSERT INTO numerics_1h (bed_id, bucket,
        hr_min, hr_max, hr_mean, hr_n,
        pr_min, pr_max, pr_mean, pr_n,
        spo2_min, spo2_max, spo2_mean, spo2_n,
        pi_min, pi_max, pi_mean, pi_n,
        rr_min, rr_max, rr_mean, rr_n,
        abp_sys_min, abp_sys_max, abp_sys_mean, abp_sys_n,
        abp_dia_min, abp_dia_max, abp_dia_mean, abp_dia_n,
        abp_mean_min, abp_mean_max, abp_mean_mean, abp_mean_n,
        nibp_sys_min, nibp_sys_max, nibp_sys_mean, nibp_sys_n,
        nibp_dia_min, nibp_dia_max, nibp_dia_mean, nibp_dia_n,
        nibp_mean_min, nibp_mean_max, nibp_mean_mean, nibp_mean_n,
        temp_min, temp_max, temp_mean, temp_n,
        etco2_min, etco2_max, etco2_mean, etco2_n,
        cvp_min, cvp_max, cvp_mean, cvp_n,
        awrr_min, awrr_max, awrr_mean, awrr_n)
    SELECT due.bed_id, due.bucket,
        min(hr_min), max(hr_max), sum(hr_mean * hr_n) / nullif(sum(hr_n), 0), sum(hr_n),
        min(pr_min), max(pr_max), sum(pr_mean * pr_n) / nullif(sum(pr_n), 0), sum(pr_n),
        min(spo2_min), max(spo2_max), sum(spo2_mean * spo2_n) / nullif(sum(spo2_n), 0), sum(spo2_n),
        min(pi_min), max(pi_max), sum(pi_mean * pi_n) / nullif(sum(pi_n), 0), sum(pi_n),
        min(rr_min), max(rr_max), sum(rr_mean * rr_n) / nullif(sum(rr_n), 0), sum(rr_n),
        min(abp_sys_min), max(abp_sys_max), sum(abp_sys_mean * abp_sys_n) / nullif(sum(abp_sys_n), 0), sum(abp_sys_n),
        min(abp_dia_min), max(abp_dia_max), sum(abp_dia_mean * abp_dia_n) / nullif(sum(abp_dia_n), 0), sum(abp_dia_n),
        min(abp_mean_min), max(abp_mean_max), sum(abp_mean_mean * abp_mean_n) / nullif(sum(abp_mean_n), 0), sum(abp_mean_n),
        min(nibp_sys_min), max(nibp_sys_max), sum(nibp_sys_mean * nibp_sys_n) / nullif(sum(nibp_sys_n), 0), sum(nibp_sys_n),
        min(nibp_dia_min), max(nibp_dia_max), sum(nibp_dia_mean * nibp_dia_n) / nullif(sum(nibp_dia_n), 0), sum(nibp_dia_n),
        min(nibp_mean_min), max(nibp_mean_max), sum(nibp_mean_mean * nibp_mean_n) / nullif(sum(nibp_mean_n), 0), sum(nibp_mean_n),
        min(temp_min), max(temp_max), sum(temp_mean * temp_n) / nullif(sum(temp_n), 0), sum(temp_n),
        min(etco2_min), max(etco2_max), sum(etco2_mean * etco2_n) / nullif(sum(etco2_n), 0), sum(etco2_n),
        min(cvp_min), max(cvp_max), sum(cvp_mean * cvp_n) / nullif(sum(cvp_n), 0), sum(cvp_n),
        min(awrr_min), max(awrr_max), sum(awrr_mean * awrr_n) / nullif(sum(awrr_n), 0), sum(awrr_n)
    FROM unnest(beds, buckets) AS due (bed_id, bucket)
    JOIN numerics_1m fine ON fine.bed_id = due.bed_id
        AND fine.bucket >= due.bucket AND fine.bucket < due.bucket + interval '1 hour'
    GROUP BY due.bed_id, due.bucket
    ON CONFLICT (bed_id, bucket) DO UPDATE SET
        hr_min = EXCLUDED.hr_min,
        hr_max = EXCLUDED.hr_max,
        hr_mean = EXCLUDED.hr_mean,
        hr_n = EXCLUDED.hr_n,
        pr_min = EXCLUDED.pr_min,
        pr_max = EXCLUDED.pr_max,
        pr_mean = EXCLUDED.pr_mean,
        pr_n = EXCLUDED.pr_n,
        spo2_min = EXCLUDED.spo2_min,
        spo2_max = EXCLUDED.spo2_max,
        spo2_mean = EXCLUDED.spo2_mean,
        spo2_n = EXCLUDED.spo2_n,
        pi_min = EXCLUDED.pi_min,
        pi_max = EXCLUDED.pi_max,
        pi_mean = EXCLUDED.pi_mean,
        pi_n = EXCLUDED.pi_n,
        rr_min = EXCLUDED.rr_min,
        rr_max = EXCLUDED.rr_max,
        rr_mean = EXCLUDED.rr_mean,
        rr_n = EXCLUDED.rr_n,
        abp_sys_min = EXCLUDED.abp_sys_min,
        abp_sys_max = EXCLUDED.abp_sys_max,
        abp_sys_mean = EXCLUDED.abp_sys_mean,
        abp_sys_n = EXCLUDED.abp_sys_n,
        abp_dia_min = EXCLUDED.abp_dia_min,
        abp_dia_max = EXCLUDED.abp_dia_max,
        abp_dia_mean = EXCLUDED.abp_dia_mean,
        abp_dia_n = EXCLUDED.abp_dia_n,
        abp_mean_min = EXCLUDED.abp_mean_min,
        abp_mean_max = EXCLUDED.abp_mean_max,
        abp_mean_mean = EXCLUDED.abp_mean_mean,
        abp_mean_n = EXCLUDED.abp_mean_n,
        nibp_sys_min = EXCLUDED.nibp_sys_min,
        nibp_sys_max = EXCLUDED.nibp_sys_max,
        nibp_sys_mean = EXCLUDED.nibp_sys_mean,
        nibp_sys_n = EXCLUDED.nibp_sys_n,
        nibp_dia_min = EXCLUDED.nibp_dia_min,
        nibp_dia_max = EXCLUDED.nibp_dia_max,
        nibp_dia_mean = EXCLUDED.nibp_dia_mean,
        nibp_dia_n = EXCLUDED.nibp_dia_n,
        nibp_mean_min = EXCLUDED.nibp_mean_min,
        nibp_mean_max = EXCLUDED.nibp_mean_max,
        nibp_mean_mean = EXCLUDED.nibp_mean_mean,
        nibp_mean_n = EXCLUDED.nibp_mean_n,
        temp_min = EXCLUDED.temp_min,
        temp_max = EXCLUDED.temp_max,
        temp_mean = EXCLUDED.temp_mean,
        temp_n = EXCLUDED.temp_n,
        etco2_min = EXCLUDED.etco2_min,
        etco2_max = EXCLUDED.etco2_max,
        etco2_mean = EXCLUDED.etco2_mean,
        etco2_n = EXCLUDED.etco2_n,
        cvp_min = EXCLUDED.cvp_min,
        cvp_max = EXCLUDED.cvp_max,
        cvp_mean = EXCLUDED.cvp_mean,
        cvp_n = EXCLUDED.cvp_n,
        awrr_min = EXCLUDED.awrr_min,
        awrr_max = EXCLUDED.awrr_max,
        awrr_mean = EXCLUDED.awrr_mean,
        awrr_n = EXCLUDED.awrr_n;

    INSERT INTO numerics_rare_1h (bed_id, vital, bucket, min, max, mean, n)
    SELECT due.bed_id, vital, due.bucket, min(min), max(max), sum(mean * n) / sum(n), sum(n)
    FROM unnest(beds, buckets) AS due (bed_id, bucket)
    JOIN numerics_rare_1m fine ON fine.bed_id = due.bed_id
        AND fine.bucket >= due.bucket AND fine.bucket < due.bucket + interval '1 hour'
    GROUP BY due.bed_id, vital, due.bucket
    ON CONFLICT (bed_id, vital, bucket) DO UPDATE SET
        min = EXCLUDED.min, max = EXCLUDED.max, mean = EXCLUDED.mean, n = EXCLUDED.n;
$$;
