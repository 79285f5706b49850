-- 1 h rollups of a bed, oldest first, at most 20000.
SELECT bucket AS at,
    hr_mean AS hr, hr_min, hr_max,
    pr_mean AS pr, pr_min, pr_max,
    spo2_mean AS spo2, spo2_min, spo2_max,
    rr_mean AS rr, rr_min, rr_max,
    abp_sys_mean AS abp_sys, abp_sys_min, abp_sys_max,
    abp_dia_mean AS abp_dia, abp_dia_min, abp_dia_max,
    abp_mean_mean AS abp_mean, abp_mean_min, abp_mean_max,
    nibp_sys_mean AS nibp_sys, nibp_sys_min, nibp_sys_max,
    nibp_dia_mean AS nibp_dia, nibp_dia_min, nibp_dia_max,
    nibp_mean_mean AS nibp_mean, nibp_mean_min, nibp_mean_max,
    temp_mean AS temp, temp_min, temp_max,
    etco2_mean AS etco2, etco2_min, etco2_max,
    cvp_mean AS cvp, cvp_min, cvp_max,
    bp_sys_mean AS bp_sys, bp_sys_min, bp_sys_max,
    bp_dia_mean AS bp_dia, bp_dia_min, bp_dia_max,
    bp_mean_mean AS bp_mean, bp_mean_min, bp_mean_max,
    pap_sys_mean AS pap_sys, pap_sys_min, pap_sys_max,
    pap_dia_mean AS pap_dia, pap_dia_min, pap_dia_max,
    pap_mean_mean AS pap_mean, pap_mean_min, pap_mean_max,
    abp_pr_mean AS abp_pr, abp_pr_min, abp_pr_max,
    nibp_pr_mean AS nibp_pr, nibp_pr_min, nibp_pr_max,
    fio2_mean AS fio2, fio2_min, fio2_max,
    peep_mean AS peep, peep_min, peep_max,
    vt_mean AS vt, vt_min, vt_max,
    pvc_mean AS pvc, pvc_min, pvc_max
FROM numerics_1h
WHERE bed_id = (SELECT id FROM bed WHERE name = %(bed)s)
    AND bucket >= %(start)s AND bucket < %(end)s
ORDER BY bucket LIMIT 20000
