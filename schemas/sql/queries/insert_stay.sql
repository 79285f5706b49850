-- Open a stay.
INSERT INTO stay (id, age, admitted_at, pregnant, spo2_scale, spo2_ordered_by, limits)
VALUES (%(id)s, %(age)s, %(admitted)s, %(pregnant)s, %(scale)s, %(ordered_by)s, %(limits)s)
