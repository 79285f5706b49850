-- The signals that have chunks without a block, how many samples, and when the last came.
SELECT signal_id, sum(samples) AS samples, max(received_at) AS received_at
FROM wave_chunk GROUP BY signal_id
