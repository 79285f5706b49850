-- Keep the newest count and example of one kind of refusal.
INSERT INTO rejected (epoch, device, reason, count, first_at, last_at, detail, topic, sample)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (epoch, device, reason) DO UPDATE SET count = EXCLUDED.count,
    last_at = EXCLUDED.last_at, detail = EXCLUDED.detail, topic = EXCLUDED.topic,
    sample = EXCLUDED.sample
WHERE rejected.count <= EXCLUDED.count
