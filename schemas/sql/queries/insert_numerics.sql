-- Store judged readings; a key that is there already changes nothing.
INSERT INTO numerics (bed_id, stream_id, measured_at, received_at, seq, offset_ms, late, status,
    hr, pr, spo2, pi, rr, abp_sys, abp_dia, abp_mean, nibp_sys, nibp_dia, nibp_mean, temp, etco2,
    cvp, awrr)
SELECT * FROM unnest(%b::int[], %b::int[], %b::timestamptz[], %b::timestamptz[], %b::bigint[],
    %b::bigint[], %b::boolean[], %b::bigint[],
    %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[],
    %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[], %b::real[])
ON CONFLICT DO NOTHING
