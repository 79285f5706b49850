-- End an exception before its time.
UPDATE patient_exception SET until = %(now)s FROM stay
WHERE stay.number = patient_exception.stay AND stay.id = %(stay)s AND rule = %(rule)s
    AND until > %(now)s
