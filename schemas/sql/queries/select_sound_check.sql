-- The last sound check of a unit.
SELECT unit, by, heard, at FROM sound_check WHERE unit = %(unit)s ORDER BY at DESC LIMIT 1
