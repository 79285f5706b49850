-- A picture of a consult.
INSERT INTO consult_image (id, consult, media, body, by)
VALUES (%(id)s, %(consult)s, %(media)s, %(body)s, %(by)s)
