-- Lines of the audit, newest first.
SELECT number, at, who, role, what, object, outcome, address, detail
FROM audit
WHERE at >= %(start)s::timestamptz AND at < %(end)s::timestamptz
    AND (%(who)s::text IS NULL OR who = %(who)s)
    AND (%(object)s::text IS NULL OR object LIKE %(object)s)
    AND (%(beds)s::text[] IS NULL OR object LIKE ANY (%(beds)s))
ORDER BY number DESC
LIMIT %(limit)s
