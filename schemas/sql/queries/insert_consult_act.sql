-- One act of a consult.
INSERT INTO consult_act (consult, at, by, kind, body)
VALUES (%(consult)s, %(at)s, %(by)s, %(kind)s, %(body)s)
