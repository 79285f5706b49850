-- What the hospital's system calls a patient; and what other tools may read.

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
END $$;
