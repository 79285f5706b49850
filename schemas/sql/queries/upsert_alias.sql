-- Let a stay go by a hospital's number, of which only a keyed hash is kept.
INSERT INTO identity.alias (alias, stay, left_at) VALUES (%(alias)s, %(stay)s, %(left)s)
ON CONFLICT (alias, stay) DO UPDATE SET left_at = greatest(EXCLUDED.left_at, identity.alias.left_at)
