-- The newest line of the audit.
SELECT number, seal FROM audit ORDER BY number DESC LIMIT 1
