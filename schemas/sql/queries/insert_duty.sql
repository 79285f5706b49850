-- Put a person on duty.
INSERT INTO duty (unit, role, username, during)
VALUES (%(unit)s, %(role)s, %(username)s, %(during)s)
