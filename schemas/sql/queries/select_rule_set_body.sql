-- One rule set that was published.
SELECT body FROM rule_set WHERE id = %(number)s
