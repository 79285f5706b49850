-- The rule set that was in force at a time.
SELECT id, at, by, reason, version, body FROM rule_set WHERE at <= %(at)s ORDER BY id DESC LIMIT 1
