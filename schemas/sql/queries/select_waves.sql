-- One bed's blocks and newest chunks that may hold samples between two times. A block spans less
-- than 90 s. codec: 1 a compressed block, 0 samples as they came.
SELECT signal.channel, signal.device, signal.unit, signal.rate_hz, signal.scale, signal.zero,
    piece.start_at, piece.samples, piece.seq, piece.codec, piece.data
FROM wave_signal signal
JOIN bed ON bed.id = signal.bed_id
CROSS JOIN LATERAL (
    SELECT start_at, samples, first_seq AS seq, 1 AS codec, data FROM wave_block
    WHERE signal_id = signal.id AND start_at > %(start)s - interval '90 seconds'
        AND start_at < %(end)s
    UNION ALL
    SELECT start_at, samples, seq, 0, data FROM wave_chunk
    WHERE signal_id = signal.id AND start_at > %(start)s - interval '90 seconds'
        AND start_at < %(end)s
) AS piece
WHERE bed.name = %(bed)s AND (%(channel)s::text IS NULL OR signal.channel = %(channel)s)
ORDER BY signal.channel, piece.start_at, piece.seq
