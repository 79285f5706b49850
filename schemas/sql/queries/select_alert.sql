-- The life of one alert, in order.
SELECT * FROM alert_event WHERE alert = %(alert)s ORDER BY line LIMIT 10000
