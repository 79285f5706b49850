-- Forget a discharge that came before its admission, now that this has come.
DELETE FROM identity.alias WHERE alias = %(alias)s AND stay = ''
