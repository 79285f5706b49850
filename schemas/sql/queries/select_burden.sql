-- Alerts that people were called for, by hospital, shift and rule: how many, how long, how soon
-- acknowledged. Shifts of eight hours: night from 00, day from 08, evening from 16, local time.
WITH told AS (
    SELECT alert, min(bed) AS bed, min(rule) AS rule, min(priority) AS priority,
        bool_or(technical) AS technical, min(at) FILTER (WHERE kind = 'fired') AS fired_at,
        min(at) FILTER (WHERE kind IN ('resolved', 'latched')) AS ended_at,
        min(acknowledged_at) AS acknowledged_at,
        bool_and(muted_by <> '') FILTER (WHERE kind IN ('fired', 'unmuted', 'unshelved')) AS muted
    FROM alert_event
    WHERE at >= %(start)s AND at < %(end)s AND (%(bed)s::text IS NULL OR bed = %(bed)s)
    GROUP BY alert
    HAVING bool_or(kind = 'fired')
)
SELECT split_part(bed, '/', 1) AS hospital, bed, split_part(rule, '/', 1) AS rule, priority,
    technical, muted,
    CASE extract(hour FROM fired_at AT TIME ZONE %(zone)s)::int / 8
        WHEN 0 THEN 'night' WHEN 1 THEN 'day' ELSE 'evening' END AS shift,
    count(*) AS alerts,
    sum(extract(epoch FROM coalesce(ended_at, %(end)s) - fired_at)) AS in_alarm_s,
    count(acknowledged_at) AS acknowledged,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - fired_at))
        AS acknowledged_after_s
FROM told
GROUP BY hospital, bed, split_part(rule, '/', 1), priority, technical, muted, shift
ORDER BY alerts DESC, bed, 3 LIMIT 20000
