-- Identity apart and sealed, the audit, sessions that can be told apart, break-glass.

-- Who a patient is, sealed with a key that is not in the database. A run's namespace has none.
DO $$
BEGIN
    IF current_schema() NOT LIKE 'run\_%' THEN
        CREATE SCHEMA IF NOT EXISTS identity;
        CREATE TABLE IF NOT EXISTS identity.patient (
            stay text PRIMARY KEY,
            sealed bytea NOT NULL
        );
    END IF;
END $$;

-- Who did, saw, changed, exported what and when. Each line's seal covers the line before it, with a
-- key that is not in the database: an edit, deletion or swap is found by `vigil audit verify`.
CREATE TABLE audit (
    number bigint PRIMARY KEY,
    id text NOT NULL UNIQUE,
    at timestamptz NOT NULL,
    who text NOT NULL,
    role text NOT NULL,
    what text NOT NULL,
    object text NOT NULL,
    outcome text NOT NULL,
    address text NOT NULL,
    detail text NOT NULL,
    seal bytea NOT NULL
);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_object ON audit (object, at);

-- Where the chain begins, after lines older than they must be kept were let go.
CREATE TABLE audit_beginning (
    number bigint NOT NULL,
    seal bytea NOT NULL,
    proof bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

-- Nothing of ours changes a line. Whoever owns the table can; the seals find that.
CREATE TRIGGER audit_append_only BEFORE UPDATE OR TRUNCATE ON audit
    FOR EACH STATEMENT WHEN (current_setting('application_name') = 'vigil')
    EXECUTE FUNCTION vigil_refuse_change();

-- A password that was made for somebody is to be changed by them first.
ALTER TABLE account ADD COLUMN must_change boolean NOT NULL DEFAULT false;
ALTER TABLE account ADD COLUMN subject text UNIQUE;

ALTER TABLE session ADD COLUMN id text;
ALTER TABLE session ADD COLUMN opened_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE session ADD COLUMN address text NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN agent text NOT NULL DEFAULT '';
UPDATE session SET id = left(encode(token_hash, 'hex'), 12);
ALTER TABLE session ALTER COLUMN id SET NOT NULL;

-- Seeing beyond one's scope in an emergency: with a reason, for a time, visible to those concerned.
CREATE TABLE break_glass (
    id text PRIMARY KEY,
    username text NOT NULL REFERENCES account ON DELETE CASCADE,
    scope text NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    from_at timestamptz NOT NULL,
    until_at timestamptz NOT NULL CHECK (until_at > from_at),
    ended_by text NOT NULL DEFAULT ''
);
CREATE INDEX break_glass_username ON break_glass (username, until_at);
