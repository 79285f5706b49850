-- Set a unit's ladder.
INSERT INTO unit_ladder (unit, ladder, by) VALUES (%(unit)s, %(ladder)s, %(by)s)
ON CONFLICT (unit) DO UPDATE SET ladder = EXCLUDED.ladder, by = EXCLUDED.by, at = now()
