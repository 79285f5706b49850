-- What became of notifications, newest first: all, or those that did not arrive.
SELECT * FROM delivery
WHERE at >= %(since)s AND (%(failed)s IS NOT TRUE OR state <> 'sent')
ORDER BY at DESC LIMIT %(limit)s
