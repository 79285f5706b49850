-- The newest clock offset of each device, largest first.
SELECT * FROM (
    SELECT DISTINCT ON (bed, device) bed, device, since, offset_ms FROM device_clock
    ORDER BY bed, device, since DESC
) newest ORDER BY abs(offset_ms) DESC LIMIT %(limit)s
