-- End every session of a person but one.
DELETE FROM session WHERE username = %(username)s AND token_hash <> %(token)s
