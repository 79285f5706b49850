-- Write a line of the audit, once.
INSERT INTO audit (number, id, at, who, role, what, object, outcome, address, detail, seal)
VALUES (%(number)s, %(id)s, %(at)s, %(who)s, %(role)s, %(what)s, %(object)s, %(outcome)s,
    %(address)s, %(detail)s, %(seal)s)
ON CONFLICT (id) DO NOTHING
