-- Register the bed and the stream (bed, device, boot); return their ids.
WITH named AS (
    INSERT INTO bed (name, hospital) VALUES (%(bed)s, %(hospital)s)
    ON CONFLICT (name) DO UPDATE SET hospital = EXCLUDED.hospital
    RETURNING id
)
INSERT INTO stream (bed_id, device, boot)
SELECT id, %(device)s, %(boot)s FROM named
ON CONFLICT (bed_id, device, boot) DO UPDATE SET boot = EXCLUDED.boot
RETURNING bed_id, id
