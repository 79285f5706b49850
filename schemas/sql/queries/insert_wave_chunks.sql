-- Keep chunks as they came; a key that is there already changes nothing.
INSERT INTO wave_chunk (signal_id, start_at, seq, samples, received_at, data)
SELECT * FROM unnest(%b::int[], %b::timestamptz[], %b::bigint[], %b::int[], %b::timestamptz[],
    %b::bytea[])
ON CONFLICT DO NOTHING
