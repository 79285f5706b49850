-- Take away one interval of a stay, to be written anew.
DELETE FROM stay_place USING stay
WHERE stay.number = stay_place.stay AND stay.id = %(stay)s AND lower(during) = %(start)s
