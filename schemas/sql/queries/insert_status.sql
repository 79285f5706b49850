-- Note what a device said of itself.
INSERT INTO device_status (bed, device, state, interval_s, received_at) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
