-- The newest line before a time, if all before it are older too.
SELECT number, seal FROM audit
WHERE number < (SELECT coalesce(min(number), 9223372036854775807) FROM audit WHERE at >= %(until)s)
ORDER BY number DESC LIMIT 1
