-- What became of notifications, newest first: all, or those that did not arrive.
SELECT * FROM delivery
WHERE (%(scope)s::text[] IS NULL OR bed LIKE ANY(%(scope)s)) AND at >= %(since)s AND (%(failed)s IS NOT TRUE OR state <> 'sent')
ORDER BY at DESC LIMIT %(limit)s
