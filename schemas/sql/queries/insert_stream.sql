-- Register the bed and the stream; return their ids.
WITH named AS (
    INSERT INTO bed (name, hospital) VALUES (%(bed)s, %(hospital)s)
    ON CONFLICT (name) DO UPDATE SET hospital = EXCLUDED.hospital
    RETURNING id
)
INSERT INTO stream (bed_id, device, boot, interval_s, numbered)
SELECT id, %(device)s, %(boot)s, %(interval_s)s, %(numbered)s FROM named
ON CONFLICT (bed_id, device, boot, interval_s, numbered) DO UPDATE SET boot = EXCLUDED.boot
RETURNING bed_id, id
