-- Scopes of accounts, names of patients, annotations, consults, sound checks, questions of identity.

-- What an account may see: hospitals ("kaihua") and units ("kaihua/icu"); none: everything.
ALTER TABLE account ADD COLUMN scope text[] NOT NULL DEFAULT '{}';

-- Shown masked; whole only to roles at the bedside. Never published.
ALTER TABLE stay ADD COLUMN name text NOT NULL DEFAULT '';

-- An annotation is its newest version; every version stays.
CREATE TABLE annotation (
    id text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    bed text NOT NULL,
    stay text NOT NULL DEFAULT '',
    start_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL CHECK (end_at >= start_at),
    signal text NOT NULL DEFAULT '',
    label text NOT NULL,
    note text NOT NULL DEFAULT '',
    withdrawn boolean NOT NULL DEFAULT false,
    by text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (id, version)
);
CREATE INDEX annotation_bed ON annotation (bed, start_at);
CREATE TRIGGER annotation_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON annotation
    FOR EACH STATEMENT EXECUTE FUNCTION vigil_refuse_change();

-- A consult is what its acts fold to (care.consults); the acts stay.
CREATE TABLE consult_act (
    line bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consult text NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    kind text NOT NULL,
    body jsonb NOT NULL
);
CREATE INDEX consult_act_consult ON consult_act (consult, line);
CREATE TRIGGER consult_act_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON consult_act
    FOR EACH STATEMENT EXECUTE FUNCTION vigil_refuse_change();

-- What lists ask of a consult; written with each act.
CREATE TABLE consult (
    id text PRIMARY KEY,
    bed text NOT NULL,
    stay text NOT NULL DEFAULT '',
    state text NOT NULL,
    opened_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    unmeasured boolean NOT NULL DEFAULT false
);
CREATE INDEX consult_bed ON consult (bed, opened_at);

CREATE TABLE consult_image (
    id text PRIMARY KEY,
    consult text NOT NULL,
    media text NOT NULL CHECK (media IN ('image/png', 'image/jpeg', 'image/webp')),
    body bytea NOT NULL CHECK (octet_length(body) <= 600000),
    by text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

-- A ward station's speakers, heard or not, at the start of a shift.
CREATE TABLE sound_check (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit text NOT NULL,
    by text NOT NULL,
    heard boolean NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sound_check_unit ON sound_check (unit, at);

-- "Is this still the same patient?": asked by the wrong-bed guard, answered by a person.
CREATE TABLE identity_question (
    id text PRIMARY KEY,
    bed text NOT NULL,
    stay text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('device', 'identity', 'jump')),
    detail jsonb NOT NULL,
    asked_at timestamptz NOT NULL,
    answer text CHECK (answer IN ('same', 'other')),
    answered_by text,
    answered_at timestamptz,
    CHECK ((answer IS NULL) = (answered_by IS NULL) AND (answer IS NULL) = (answered_at IS NULL))
);
CREATE INDEX identity_question_open ON identity_question (bed) WHERE answer IS NULL;
