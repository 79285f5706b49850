-- The ledger itself, in the order in which it was stored.
SELECT * FROM alert_event
WHERE (%(bed)s::text IS NULL OR bed = %(bed)s) AND onset_at >= %(since)s
ORDER BY line LIMIT %(limit)s
