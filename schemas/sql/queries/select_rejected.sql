-- What was refused, newest first; counts of several epochs added up.
SELECT device, reason, sum(count)::bigint AS count, min(first_at) AS first_at, max(last_at) AS last_at,
    (array_agg(detail ORDER BY last_at DESC))[1] AS detail,
    (array_agg(topic ORDER BY last_at DESC))[1] AS topic,
    (array_agg(sample ORDER BY last_at DESC))[1] AS sample
FROM rejected WHERE %(device)s::text IS NULL OR device = %(device)s
GROUP BY device, reason ORDER BY max(last_at) DESC LIMIT %(limit)s
