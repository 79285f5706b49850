-- One bed by name.
SELECT id, name, hospital, first_seen FROM bed WHERE name = %(bed)s
