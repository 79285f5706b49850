-- Every known vital gets a column; what a replay of stored readings needs is kept.
-- status holds the qualities of the first 15 vitals (schemas/vitals.py COMMON), status2 of the next.

ALTER TABLE numerics
    ADD COLUMN sent_us bigint,  -- sent minus measured, by the device's clock; null: not said
    ADD COLUMN status2 bigint,
    ADD COLUMN bp_sys real, ADD COLUMN bp_dia real, ADD COLUMN bp_mean real,
    ADD COLUMN pap_sys real, ADD COLUMN pap_dia real, ADD COLUMN pap_mean real,
    ADD COLUMN abp_pr real, ADD COLUMN nibp_pr real,
    ADD COLUMN fio2 real, ADD COLUMN peep real, ADD COLUMN vt real, ADD COLUMN pvc real;

ALTER TABLE stream
    ADD COLUMN interval_s real NOT NULL DEFAULT 1,
    ADD COLUMN numbered boolean NOT NULL DEFAULT true,
    DROP CONSTRAINT stream_bed_id_device_boot_key,
    ADD UNIQUE (bed_id, device, boot, interval_s, numbered);

-- What devices said of themselves, as intake took it.
CREATE TABLE device_status (
    bed text NOT NULL,
    device text NOT NULL,
    state text NOT NULL,
    interval_s real,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (bed, received_at, device)
);

-- The vitals with a column of their own: where the quality of each stands.
CREATE TABLE vital_column (
    name text PRIMARY KEY,
    slot integer NOT NULL UNIQUE
);
INSERT INTO vital_column (name, slot)
SELECT name, ordinality - 1 FROM unnest(ARRAY[
    'hr', 'pr', 'spo2', 'pi', 'rr', 'abp_sys', 'abp_dia', 'abp_mean', 'nibp_sys', 'nibp_dia',
    'nibp_mean', 'temp', 'etco2', 'cvp', 'awrr', 'bp_sys', 'bp_dia', 'bp_mean', 'pap_sys',
    'pap_dia', 'pap_mean', 'abp_pr', 'nibp_pr', 'fio2', 'peep', 'vt', 'pvc'
]) WITH ORDINALITY AS vitals (name, ordinality);

-- The text of SQL for each vital column, joined by commas: %1$s its name, %2$s the condition that
-- its value is usable. What has a column for each vital is written once, here, and not 27 times.
CREATE FUNCTION vigil_each_vital(template text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(
        format(
            template,
            name,
            format(
                '(%1$s IS NULL OR (%1$s >> %2$s) & 15 = 0)',
                CASE WHEN slot < 15 THEN 'status' ELSE 'status2' END,
                4 * (slot % 15)
            )
        ),
        ', ' ORDER BY slot
    )
    FROM vital_column
$$;

DO $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['numerics_1m', 'numerics_1h'] LOOP
        EXECUTE (
            SELECT format('ALTER TABLE %I ', parent) || string_agg(
                format('ADD COLUMN IF NOT EXISTS %I %s', name || part, kind), ', '
            )
            FROM vital_column, (VALUES
                ('_min', 'real'), ('_max', 'real'), ('_mean', 'real'), ('_n', 'integer')
            ) AS aggregate (part, kind)
        );
    END LOOP;
END $$;
