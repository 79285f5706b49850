-- What lists ask of a consult, as it stands after an act.
INSERT INTO consult (id, bed, stay, state, opened_at, changed_at, unmeasured)
VALUES (%(id)s, %(bed)s, %(stay)s, %(state)s, %(opened)s, %(changed)s, %(unmeasured)s)
ON CONFLICT (id) DO UPDATE SET state = EXCLUDED.state, changed_at = EXCLUDED.changed_at,
    unmeasured = EXCLUDED.unmeasured
