-- Keep who a patient is, sealed.
INSERT INTO identity.patient (stay, sealed) VALUES (%(stay)s, %(sealed)s)
ON CONFLICT (stay) DO UPDATE SET sealed = EXCLUDED.sealed
