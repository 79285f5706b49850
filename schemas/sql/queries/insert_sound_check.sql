-- Somebody listened.
INSERT INTO sound_check (unit, by, heard) VALUES (%(unit)s, %(by)s, %(heard)s)
