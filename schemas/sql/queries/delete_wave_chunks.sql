-- Take away the chunks of one signal that stand in blocks now.
DELETE FROM wave_chunk USING unnest(%b::timestamptz[], %b::bigint[]) AS done (start_at, seq)
WHERE wave_chunk.signal_id = %s AND wave_chunk.start_at = done.start_at
    AND wave_chunk.seq = done.seq
