-- Register the bed and the signal; return the signal's id.
WITH named AS (
    INSERT INTO bed (name, hospital) VALUES (%(bed)s, %(hospital)s)
    ON CONFLICT (name) DO UPDATE SET hospital = EXCLUDED.hospital
    RETURNING id
)
INSERT INTO wave_signal (bed_id, device, boot, channel, unit, rate_hz, scale, zero)
SELECT id, %(device)s, %(boot)s, %(channel)s, %(unit)s, %(rate_hz)s, %(scale)s, %(zero)s FROM named
ON CONFLICT (bed_id, channel, device, boot, unit, rate_hz, scale, zero)
    DO UPDATE SET boot = EXCLUDED.boot
RETURNING id
