-- What the ledger says since alerts have a life of their own; other inputs; notifications.
ALTER TABLE alert_event
    ADD COLUMN overlay text NOT NULL DEFAULT '',
    ADD COLUMN inputs jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN extreme boolean NOT NULL DEFAULT false,
    ADD COLUMN latched boolean NOT NULL DEFAULT false,
    ADD COLUMN muted_by text NOT NULL DEFAULT '',
    ADD COLUMN reason text NOT NULL DEFAULT '',
    ADD COLUMN shelved_until timestamptz,
    ADD COLUMN acknowledged_at timestamptz,
    ADD COLUMN step integer NOT NULL DEFAULT 0,
    ADD COLUMN role text NOT NULL DEFAULT '',
    ADD COLUMN done_by text NOT NULL DEFAULT '';
CREATE INDEX alert_event_fired ON alert_event (at) WHERE kind = 'fired';

DROP VIEW alert;
CREATE VIEW alert AS
    SELECT DISTINCT ON (alert) *
    FROM alert_event
    ORDER BY alert, (kind IN ('resolved', 'finding')) DESC, line DESC;

-- What intake decided from beside readings and statuses: commands, observations, device alarms,
-- configuration. body is the message as it came.
CREATE TABLE input (
    scope text NOT NULL,
    kind text NOT NULL,
    received_at timestamptz NOT NULL,
    body bytea NOT NULL
);
CREATE UNIQUE INDEX input_once ON input (scope, received_at, kind, md5(body));

-- What became of a notification to a person.
CREATE TABLE delivery (
    id text PRIMARY KEY,
    event text NOT NULL,
    alert text NOT NULL,
    bed text NOT NULL,
    person text NOT NULL,
    role text NOT NULL,
    target text NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL,
    at timestamptz NOT NULL,
    detail text NOT NULL
);
CREATE INDEX delivery_at ON delivery (at DESC);
