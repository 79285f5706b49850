-- What is known of a patient, but the name, as a change of it names things.
SELECT age, pregnant, spo2_scale AS scale, spo2_ordered_by AS ordered_by, limits
FROM stay WHERE id = %(id)s
