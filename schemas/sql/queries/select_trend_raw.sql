-- Usable raw readings of a bed, oldest first, at most 20000.
SELECT measured_at AS at,
    CASE WHEN (coalesce(status, 0) >> 0) & 15 = 0 THEN hr END AS hr,
    CASE WHEN (coalesce(status, 0) >> 4) & 15 = 0 THEN pr END AS pr,
    CASE WHEN (coalesce(status, 0) >> 8) & 15 = 0 THEN spo2 END AS spo2,
    CASE WHEN (coalesce(status, 0) >> 16) & 15 = 0 THEN rr END AS rr,
    CASE WHEN (coalesce(status, 0) >> 20) & 15 = 0 THEN abp_sys END AS abp_sys,
    CASE WHEN (coalesce(status, 0) >> 24) & 15 = 0 THEN abp_dia END AS abp_dia,
    CASE WHEN (coalesce(status, 0) >> 28) & 15 = 0 THEN abp_mean END AS abp_mean,
    CASE WHEN (coalesce(status, 0) >> 32) & 15 = 0 THEN nibp_sys END AS nibp_sys,
    CASE WHEN (coalesce(status, 0) >> 36) & 15 = 0 THEN nibp_dia END AS nibp_dia,
    CASE WHEN (coalesce(status, 0) >> 40) & 15 = 0 THEN nibp_mean END AS nibp_mean,
    CASE WHEN (coalesce(status, 0) >> 44) & 15 = 0 THEN temp END AS temp,
    CASE WHEN (coalesce(status, 0) >> 48) & 15 = 0 THEN etco2 END AS etco2,
    CASE WHEN (coalesce(status, 0) >> 52) & 15 = 0 THEN cvp END AS cvp
FROM numerics
WHERE bed_id = (SELECT id FROM bed WHERE name = %(bed)s)
    AND measured_at >= %(start)s AND measured_at < %(end)s
ORDER BY measured_at LIMIT 20000
