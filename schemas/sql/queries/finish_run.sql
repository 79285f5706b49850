-- Note what a run gave.
UPDATE run SET finished_at = now(), beds = %(beds)s, readings = %(readings)s,
    samples = %(samples)s, alert_events = %(alert_events)s, rejected = %(rejected)s,
    first_at = %(first_at)s, last_at = %(last_at)s
WHERE id = %(id)s
