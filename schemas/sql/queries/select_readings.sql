-- A bed's readings between two times as they were received, for export and replay: rare vitals as
-- one object, qualities packed in status and status2.
SELECT numerics.measured_at, numerics.received_at, stream.device, stream.boot, numerics.seq,
    numerics.stream_id,
    stream.interval_s, stream.numbered, numerics.sent_us, numerics.offset_ms, numerics.late,
    numerics.status, numerics.status2,
    numerics.hr, numerics.pr, numerics.spo2, numerics.pi, numerics.rr, numerics.abp_sys,
    numerics.abp_dia, numerics.abp_mean, numerics.nibp_sys, numerics.nibp_dia,
    numerics.nibp_mean, numerics.temp, numerics.etco2, numerics.cvp, numerics.awrr,
    numerics.bp_sys, numerics.bp_dia, numerics.bp_mean, numerics.pap_sys, numerics.pap_dia,
    numerics.pap_mean, numerics.abp_pr, numerics.nibp_pr, numerics.fio2, numerics.peep,
    numerics.vt, numerics.pvc,
    (SELECT jsonb_object_agg(rare.vital, jsonb_build_array(rare.value, rare.quality))
        FROM numerics_rare rare
        WHERE rare.bed_id = numerics.bed_id AND rare.measured_at = numerics.measured_at
            AND rare.stream_id = numerics.stream_id AND rare.seq = numerics.seq) AS rare
FROM vigil_readings((SELECT id FROM bed WHERE name = %(bed)s), %(start)s, %(end)s) AS numerics
JOIN stream ON stream.id = numerics.stream_id
ORDER BY numerics.measured_at, stream.device, numerics.seq
