-- Who a patient is, sealed.
SELECT sealed FROM identity.patient WHERE stay = %(stay)s
