-- The stays that go by some of a hospital's numbers; empty: a discharge that came before its admission.
SELECT stay, left_at FROM identity.alias WHERE alias = ANY (%(aliases)s)
