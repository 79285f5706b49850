-- Store blocks; a key that is there already changes nothing.
INSERT INTO wave_block (signal_id, start_at, first_seq, last_seq, samples, data)
SELECT * FROM unnest(%b::int[], %b::timestamptz[], %b::bigint[], %b::bigint[], %b::int[], %b::bytea[])
ON CONFLICT DO NOTHING
