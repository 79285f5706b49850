-- Where the chain begins now.
SELECT number, seal, proof FROM audit_beginning ORDER BY number DESC LIMIT 1
