-- Store judged readings; a key that is there already changes nothing. Arrays may be empty: all null.
INSERT INTO numerics (bed_id, stream_id, measured_at, received_at, seq, offset_ms, late, sent_us,
    status, status2, hr, pr, spo2, pi, rr, abp_sys, abp_dia, abp_mean, nibp_sys, nibp_dia, nibp_mean,
    temp, etco2, cvp, awrr, bp_sys, bp_dia, bp_mean, pap_sys, pap_dia, pap_mean, abp_pr, nibp_pr,
    fio2, peep, vt, pvc)
SELECT * FROM unnest(%b::int[], %b::int[], %b::timestamptz[], %b::timestamptz[], %b::bigint[],
    %b::bigint[], %b::boolean[], %b::bigint[], %b::bigint[], %b::bigint[],
    %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[],
    %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[],
    %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[],
    %b::real[], %b::real[], %b::real[])
ON CONFLICT DO NOTHING
