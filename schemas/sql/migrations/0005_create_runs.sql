-- Runs: replays whose results stand in a schema of their own, never among the live ones.
CREATE TABLE run (
    id text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    source text NOT NULL,
    speed text NOT NULL,
    pack text NOT NULL,
    pack_version text NOT NULL,
    beds integer NOT NULL DEFAULT 0,
    readings bigint NOT NULL DEFAULT 0,
    samples bigint NOT NULL DEFAULT 0,
    alert_events bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    first_at timestamptz,
    last_at timestamptz
);
