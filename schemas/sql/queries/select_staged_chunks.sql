-- The chunks of one signal that have no block yet.
SELECT start_at, seq, samples, received_at, data FROM wave_chunk
WHERE signal_id = %(signal)s ORDER BY seq, start_at
