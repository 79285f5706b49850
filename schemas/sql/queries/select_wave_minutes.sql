-- The minutes between two times in which a bed sent waveforms.
SELECT DISTINCT date_trunc('minute', start_at) AS minute FROM (
    SELECT start_at FROM wave_block
    WHERE signal_id IN (SELECT id FROM wave_signal WHERE bed_id = (SELECT id FROM bed WHERE name = %(bed)s))
        AND start_at >= %(start)s AND start_at < %(end)s
) there ORDER BY 1 LIMIT 10000
