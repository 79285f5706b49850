-- Set what is known of a patient.
UPDATE stay SET age = %(age)s, pregnant = %(pregnant)s, spo2_scale = %(scale)s,
    spo2_ordered_by = %(ordered_by)s, limits = %(limits)s
WHERE id = %(id)s
