-- Alerts, newest onset first: of one bed or all within a scope, open ones only or all, since a time.
SELECT * FROM (
    SELECT DISTINCT ON (alert) * FROM alert_event
    WHERE (%(bed)s::text IS NULL OR bed = %(bed)s)
        AND (%(scope)s::text[] IS NULL OR bed LIKE ANY(%(scope)s)) AND onset_at >= %(since)s
        AND (%(until)s::timestamptz IS NULL OR onset_at < %(until)s)
    ORDER BY alert, (kind IN ('resolved', 'finding')) DESC, line DESC
) newest
WHERE NOT %(open)s OR kind NOT IN ('resolved', 'finding')
ORDER BY onset_at DESC LIMIT %(limit)s
