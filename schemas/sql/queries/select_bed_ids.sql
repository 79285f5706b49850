-- Every bed with its number.
SELECT id AS bed_id, name AS bed FROM bed ORDER BY name LIMIT 20000
