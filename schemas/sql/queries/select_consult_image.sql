-- A picture of a consult.
SELECT media, body FROM consult_image WHERE id = %(id)s AND consult = %(consult)s
