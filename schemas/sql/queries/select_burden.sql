-- Each alert that fired between two times: when, until when, when acknowledged, whether anybody was
-- called for it. One that is not over lasts until the end.
SELECT alert, min(bed) AS bed, split_part(min(rule), '/', 1) AS rule, min(priority) AS priority,
    bool_or(technical) AS technical, min(at) FILTER (WHERE kind = 'fired') AS fired_at,
    coalesce(min(at) FILTER (WHERE kind IN ('resolved', 'latched')), %(end)s) AS ended_at,
    min(acknowledged_at) AS acknowledged_at,
    bool_and(muted_by <> '') FILTER (WHERE kind IN ('fired', 'unmuted', 'unshelved')) AS muted
FROM alert_event
WHERE at >= %(start)s AND at < %(end)s AND (%(bed)s::text IS NULL OR bed = %(bed)s)
    AND (%(scope)s::text[] IS NULL OR bed LIKE ANY(%(scope)s))
GROUP BY alert
HAVING bool_or(kind = 'fired')
ORDER BY fired_at, alert LIMIT 200000
