-- Store vitals that have no column of their own.
INSERT INTO numerics_rare (bed_id, stream_id, measured_at, seq, vital, value, quality)
SELECT * FROM unnest(%b::int[], %b::int[], %b::timestamptz[], %b::bigint[], %b::text[],
    %b::real[], %b::smallint[])
ON CONFLICT DO NOTHING
