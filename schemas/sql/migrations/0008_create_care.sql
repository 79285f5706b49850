-- Stays, states of beds, exceptions for patients, ladders and duty: what the rules need of people.

-- A patient's stay: no name, no identity. age in years when admitted.
CREATE TABLE stay (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    age real,
    admitted_at timestamptz NOT NULL,
    pregnant boolean NOT NULL DEFAULT false,
    spo2_scale smallint NOT NULL DEFAULT 1 CHECK (spo2_scale IN (1, 2)),
    spo2_ordered_by text NOT NULL DEFAULT '',
    limits text[] NOT NULL DEFAULT '{}',
    CHECK (spo2_scale = 1 OR spo2_ordered_by <> '')
);

-- Where a patient lay. No bed holds two, no patient lies in two: the last defence; the first is
-- care.stays. Ranges of one number stand for equality, so that no extension is needed.
CREATE TABLE stay_place (
    stay integer NOT NULL REFERENCES stay,
    bed integer NOT NULL REFERENCES bed,
    during tstzrange NOT NULL CHECK (NOT isempty(during)),
    EXCLUDE USING gist (int4range(bed, bed, '[]') WITH &&, during WITH &&),
    EXCLUDE USING gist (int4range(stay, stay, '[]') WITH &&, during WITH &&)
);

CREATE TABLE bed_state (
    bed text PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('empty', 'monitored', 'standby')),
    until timestamptz,
    reason text NOT NULL DEFAULT '',
    by text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    CHECK (state <> 'standby' OR until IS NOT NULL)
);

CREATE TABLE patient_exception (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stay integer NOT NULL REFERENCES stay,
    rule text NOT NULL,
    above real,
    below real,
    off boolean NOT NULL DEFAULT false,
    by text NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    at timestamptz NOT NULL DEFAULT now(),
    until timestamptz NOT NULL,
    CHECK (num_nonnulls(above, below) = CASE WHEN off THEN 0 ELSE 1 END)
);

CREATE TABLE unit_ladder (
    unit text PRIMARY KEY,
    ladder jsonb NOT NULL,
    by text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE duty (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit text NOT NULL,
    role text NOT NULL,
    username text NOT NULL,
    during tstzrange NOT NULL CHECK (NOT isempty(during))
);
CREATE INDEX duty_unit ON duty USING gist (during);

-- Everything that anybody changed here, and what it was then.
CREATE TABLE care_change (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    by text NOT NULL,
    what text NOT NULL,
    detail jsonb NOT NULL
);
CREATE TRIGGER care_change_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON care_change
    FOR EACH STATEMENT EXECUTE FUNCTION vigil_refuse_change();

-- The rule sets that were published, newest last.
CREATE TABLE rule_set (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    by text NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    version text NOT NULL,
    body jsonb NOT NULL
);
