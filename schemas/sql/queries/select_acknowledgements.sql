-- Who acknowledged what on a bed between two times, of alerts that began since the first.
SELECT alert, acknowledged_by, at FROM alert_event
WHERE bed = %(bed)s AND kind = 'acknowledged' AND at >= %(start)s AND at < %(end)s
    AND onset_at >= %(start)s
ORDER BY at, alert
