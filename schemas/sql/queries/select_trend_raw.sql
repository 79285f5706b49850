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
    CASE WHEN (coalesce(status, 0) >> 52) & 15 = 0 THEN cvp END AS cvp,
    CASE WHEN (coalesce(status2, 0) >> 0) & 15 = 0 THEN bp_sys END AS bp_sys,
    CASE WHEN (coalesce(status2, 0) >> 4) & 15 = 0 THEN bp_dia END AS bp_dia,
    CASE WHEN (coalesce(status2, 0) >> 8) & 15 = 0 THEN bp_mean END AS bp_mean,
    CASE WHEN (coalesce(status2, 0) >> 12) & 15 = 0 THEN pap_sys END AS pap_sys,
    CASE WHEN (coalesce(status2, 0) >> 16) & 15 = 0 THEN pap_dia END AS pap_dia,
    CASE WHEN (coalesce(status2, 0) >> 20) & 15 = 0 THEN pap_mean END AS pap_mean,
    CASE WHEN (coalesce(status2, 0) >> 24) & 15 = 0 THEN abp_pr END AS abp_pr,
    CASE WHEN (coalesce(status2, 0) >> 28) & 15 = 0 THEN nibp_pr END AS nibp_pr,
    CASE WHEN (coalesce(status2, 0) >> 32) & 15 = 0 THEN fio2 END AS fio2,
    CASE WHEN (coalesce(status2, 0) >> 36) & 15 = 0 THEN peep END AS peep,
    CASE WHEN (coalesce(status2, 0) >> 40) & 15 = 0 THEN vt END AS vt,
    CASE WHEN (coalesce(status2, 0) >> 44) & 15 = 0 THEN pvc END AS pvc
FROM numerics
WHERE bed_id = (SELECT id FROM bed WHERE name = %(bed)s)
    AND measured_at >= %(start)s AND measured_at < %(end)s
ORDER BY measured_at LIMIT 20000
