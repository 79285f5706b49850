-- Every line with its seal, in order.
SELECT number, id, at, who, role, what, object, outcome, address, detail, seal
FROM audit ORDER BY number
