-- What devices on a bed said of themselves between two times.
SELECT device, state, interval_s, received_at FROM device_status
WHERE bed = %(bed)s AND received_at >= %(start)s AND received_at < %(end)s
ORDER BY received_at, device
