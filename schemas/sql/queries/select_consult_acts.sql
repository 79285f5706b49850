-- The acts of some consults, in order.
SELECT consult, body FROM consult_act WHERE consult = ANY(%(consults)s) ORDER BY line LIMIT 200000
