-- What of one signal is in blocks already, near a range of time.
SELECT start_at, samples, first_seq, last_seq FROM wave_block
WHERE signal_id = %(signal)s AND start_at >= %(start)s AND start_at < %(end)s
