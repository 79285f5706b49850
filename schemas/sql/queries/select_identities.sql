-- Every identity, sealed.
SELECT stay, sealed FROM identity.patient ORDER BY stay
