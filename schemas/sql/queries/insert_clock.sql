-- Note that a device's clock offset changed.
INSERT INTO device_clock (bed, device, since, offset_ms) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
