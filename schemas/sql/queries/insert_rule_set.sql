-- Keep a rule set that is published.
INSERT INTO rule_set (by, reason, version, body)
VALUES (%(by)s, %(reason)s, %(version)s, %(body)s)
