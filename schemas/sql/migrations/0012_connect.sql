-- What the hospital's system calls a patient, and what other tools may read. A run's namespace has
-- neither.

DO $$
BEGIN
    IF current_schema() LIKE 'run\_%' THEN
        RETURN;
    END IF;

    -- Keyed hashes of hospital and visit numbers, and the stays that go by them. The key is not in the
    -- database. stay '': a discharge that came before its admission.
    CREATE TABLE IF NOT EXISTS identity.alias (
        alias bytea NOT NULL,
        stay text NOT NULL,
        left_at timestamptz,
        PRIMARY KEY (alias, stay)
    );

    -- Views for Grafana and the like: documented in docs/integration.md, kept when tables change. None
    -- says who a patient is.
    CREATE SCHEMA IF NOT EXISTS report;

    CREATE VIEW report.bed AS
        SELECT id AS bed_id, name AS bed, hospital, split_part(name, '/', 2) AS unit, first_seen
        FROM bed;

    CREATE VIEW report.stay AS
        SELECT stay.id AS stay, bed.name AS bed, lower(during) AS start_at, upper(during) AS end_at,
            stay.age, stay.pregnant
        FROM stay_place JOIN stay ON stay.number = stay_place.stay
            JOIN bed ON bed.id = stay_place.bed;

    -- One row an alert: its newest state.
    CREATE VIEW report.alert AS
        SELECT alert, bed, split_part(bed, '/', 1) AS hospital, rule, priority, technical, vital,
            value, limit_value, unit, onset_at, at AS changed_at, kind AS state,
            kind NOT IN ('resolved', 'finding') AS open, delayed, muted_by, acknowledged_by,
            acknowledged_at, zh, en, published_at - received_at AS took
        FROM alert;

    -- Every line of the ledger.
    CREATE VIEW report.alert_event AS
        SELECT line, alert, kind, bed, rule, priority, technical, vital, value, limit_value, unit, at,
            onset_at, delayed, reason, role, done_by, measured_at, sent_at, received_at, judged_at,
            fired_at, published_at, stored_at
        FROM alert_event;

    CREATE VIEW report.device AS
        SELECT stream.device, bed.name AS bed, min(stream.first_seen) AS first_seen
        FROM stream JOIN bed ON bed.id = stream.bed_id GROUP BY 1, 2;

    CREATE VIEW report.rejected AS
        SELECT device, reason, sum(count)::bigint AS count, min(first_at) AS first_at,
            max(last_at) AS last_at, max(detail) AS detail
        FROM rejected GROUP BY device, reason;
END $$;

-- Numbers by minute and by hour, and the readings of the last day as they came.
DO $$
DECLARE
    width text;
BEGIN
    IF current_schema() LIKE 'run\_%' THEN
        RETURN;
    END IF;
    FOREACH width IN ARRAY ARRAY['1m', '1h'] LOOP
        EXECUTE format(
            'CREATE VIEW report.vitals_%1$s AS SELECT bed.name AS bed, bed.hospital, rolled.bucket AS at, ',
            width
        ) || vigil_each_vital(
            'rolled.%1$s_mean AS %1$s, rolled.%1$s_min, rolled.%1$s_max, rolled.%1$s_n'
        ) || format(' FROM numerics_%1$s AS rolled JOIN bed ON bed.id = rolled.bed_id', width);
    END LOOP;
    EXECUTE 'CREATE VIEW report.vitals_day AS SELECT bed.name AS bed, bed.hospital, measured_at AS at,'
        || ' stream.device, late, '
        || vigil_each_vital('CASE WHEN %2$s THEN numerics.%1$s END AS %1$s')
        || ' FROM numerics JOIN bed ON bed.id = numerics.bed_id'
        || ' JOIN stream ON stream.id = numerics.stream_id'
        || ' WHERE measured_at > now() - interval ''1 day''';

    -- A role that may read the views and nothing else; accounts of it: `vigil reader`.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vigil_report') THEN
        BEGIN
            CREATE ROLE vigil_report NOLOGIN;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'role vigil_report: an administrator must make it, then grant it the schema';
            RETURN;
        END;
    END IF;
    GRANT USAGE ON SCHEMA report TO vigil_report;
    GRANT SELECT ON ALL TABLES IN SCHEMA report TO vigil_report;
END $$;
