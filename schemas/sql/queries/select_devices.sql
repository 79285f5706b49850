-- Every device, and the bed that it was first heard from last, at most 20000.
SELECT DISTINCT ON (stream.device) stream.device, bed.name AS bed, bed.id AS bed_id
FROM stream JOIN bed ON bed.id = stream.bed_id
ORDER BY stream.device, stream.first_seen DESC LIMIT 20000
