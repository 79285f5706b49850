-- The rule sets that were published, newest first.
SELECT id, at, by, reason, version,
    (SELECT string_agg(name, ', ' ORDER BY name) FROM jsonb_object_keys(body -> 'overlays') AS name)
        AS overlays
FROM rule_set ORDER BY id DESC LIMIT %(limit)s
