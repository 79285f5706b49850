-- Write one interval of a stay; register the bed.
WITH named AS (
    INSERT INTO bed (name, hospital) VALUES (%(bed)s, %(hospital)s)
    ON CONFLICT (name) DO UPDATE SET hospital = EXCLUDED.hospital
    RETURNING id
)
INSERT INTO stay_place (stay, bed, during)
SELECT stay.number, named.id, %(during)s FROM stay, named WHERE stay.id = %(stay)s
