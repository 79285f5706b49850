-- What lists ask of a consult, as it stands after an act.
INSERT INTO consult (id, bed, stay, state, opened_at, changed_at, waiting, proposed, accepted, due_at, unmeasured)
VALUES (%(id)s, %(bed)s, %(stay)s, %(state)s, %(opened)s, %(changed)s, %(waiting)s, %(proposed)s,
    %(agreed)s, %(due)s, %(unmeasured)s)
ON CONFLICT (id) DO UPDATE SET state = EXCLUDED.state, changed_at = EXCLUDED.changed_at,
    waiting = EXCLUDED.waiting, proposed = EXCLUDED.proposed, accepted = EXCLUDED.accepted,
    due_at = EXCLUDED.due_at, unmeasured = EXCLUDED.unmeasured
